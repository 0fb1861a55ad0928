"""What nurses chart: vital signs in irregular rounds, under the item ids of two charting systems, with slips.

Tables of item ids are arrays indexed by `Source` (CareVue, MetaVision). Besides the readings that a study
wants there are those that it must not take: set rates, alarm limits, calculated copies, skin temperature,
hand-copied laboratory values.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ehr_attack.synthetic import physiology
from ehr_attack.synthetic.cohort import BoolArray, Cohort, Source
from ehr_attack.synthetic.events import HOUR, Events, Mark, tilt, to_minute
from ehr_attack.synthetic.physiology import Quantity
from ehr_attack.synthetic.severity import LAST_HOUR, Course, FloatArray, IntArray

ItemTable = npt.NDArray[np.int64]

SKIN_TEMPERATURE = 224027
SKIN_WORDS = ("Warm", "Cool", "Cold", "Hot")
LAB_COPIES = {50912: (1525, 220615), 50931: (811, 220621), 50971: (829, 227442), 50813: (818, 225668)}
"""LABEVENTS item id -> item ids (CareVue, MetaVision) under which nurses copy the result an hour later."""

_HEART_RATE = np.array([211, 220045])
_SPO2 = np.array([646, 220277])
# (source, as usual or as counted by the ventilator)
_RESP_RATE = np.array([[618, 615], [220210, 224690]])
# (source, site); MetaVision knows two of the sites
_ARTERIAL, _SECOND_ARTERIAL, _CUFF, _BY_HAND = range(4)
_SYSTOLIC = np.array([[51, 6701, 455, 442], [220050, 220050, 220179, 220179]])
_DIASTOLIC = np.array([[8368, 8555, 8441, 8440], [220051, 220051, 220180, 220180]])
# (source, Celsius or Fahrenheit); CareVue calculates the other scale from each reading
_TEMPERATURE = np.array([[676, 678], [223762, 223761]])
_CALCULATED_TEMPERATURE = np.array([679, 677])
_SET_RESP_RATE = np.array([619, 224688])
_SPO2_LIMIT = np.array([5820, 226253])

_ON_THE_HOUR, _ROUND_KEPT, _EXTRA_ROUND, _BEFORE_TRANSFER = 0.75, 0.96, 0.10, 0.10
_AWAY, _AWAY_HOURS = 0.35, (2.0, 7.0)
_READING_KEPT, _TEMPERATURE_KEPT, _VENTILATOR_COUNT = 0.95, 0.28, 0.08
_ARTERIAL_LINE, _CUFF_CHECK = 0.35, 0.12
_FAHRENHEIT = np.array([0.75, 0.90])
_VENTILATED, _SET_RATE, _LIMIT, _SKIN = 0.30, 0.12, 0.06, 0.06
_ERROR_RATE, _ABSURD_RATE = 0.004, 0.0006
# The severely ill are charted more: shifts of log-odds per standard deviation of baseline severity.
_ATTENTION, _ATTENTION_LINE = 0.15, 0.30


@dataclass(frozen=True)
class Rounds:
    """Nurses' rounds, one row each: stay index, seconds since 1970, hours since ICU admission, Source."""

    stay: IntArray
    seconds: IntArray
    hours: FloatArray
    source: IntArray

    @classmethod
    def at(cls, cohort: Cohort, stay: IntArray, seconds: IntArray) -> Self:
        """Rounds at the given times."""
        return cls(stay, seconds, (seconds - cohort.intime[stay]) / HOUR, cohort.stay_source[stay])

    def take(self, rows: BoolArray | IntArray) -> Self:
        """The rounds that a mask or an index array selects."""
        return type(self)(self.stay[rows], self.seconds[rows], self.hours[rows], self.source[rows])

    def chart(self, item: IntArray | int, value: FloatArray, mark: Mark = Mark.PLAIN) -> Events:
        """One event a round."""
        return Events.of(self.stay, self.seconds, item, value, mark)


def draw_charting(rng: np.random.Generator, cohort: Cohort, course: Course, labs: Events) -> Events:
    """All chart events of a block, in order of stay and time; some of `labs` are copied."""
    rounds = _rounds(rng, cohort, course)
    vital_signs = Events.join(
        [
            _readings(rng, course, rounds, physiology.HEART_RATE, _HEART_RATE[:, None]),
            _readings(rng, course, rounds, physiology.SPO2, _SPO2[:, None]),
            _readings(rng, course, rounds, physiology.RESP_RATE, _RESP_RATE),
            *_blood_pressure(rng, course, rounds),
            *_temperature(rng, course, rounds),
        ]
    )
    parts = [_with_slips(rng, cohort, vital_signs), *_decoys(rng, cohort, rounds), _copied_labs(cohort, labs)]
    return Events.join(parts).until(np.where(cohort.charted, cohort.charted_until, 0)).in_order()


def _rounds(rng: np.random.Generator, cohort: Cohort, course: Course) -> Rounds:
    """About one round an hour, mostly on the clock hour; gaps while the patient is away, a few extra."""
    shape = (cohort.stays, LAST_HOUR + 1)
    slot = np.broadcast_to(np.arange(-1, LAST_HOUR), shape)
    kept = rng.random(shape) < np.where(slot < 0, _BEFORE_TRANSFER, _ROUND_KEPT)
    left = rng.uniform(0, LAST_HOUR, (cohort.stays, 1))
    gone = rng.random((cohort.stays, 1)) < _AWAY
    back = left + rng.uniform(*_AWAY_HOURS, (cohort.stays, 1))
    kept &= ~(gone & (slot > left) & (slot < back))
    extra = kept & (rng.random(shape) < tilt(_EXTRA_ROUND, _ATTENTION * course.baseline)[:, None])

    intime = cohort.intime[:, None]
    clock_hour = (intime // HOUR + slot + 1) * HOUR
    any_minute, other_minute = (to_minute(intime + (slot + rng.random(shape)) * HOUR) for _ in range(2))
    regular = np.where(rng.random(shape) < _ON_THE_HOUR, clock_hour, any_minute)
    stay = np.broadcast_to(np.arange(cohort.stays)[:, None], shape)
    return Rounds.at(cohort, np.append(stay[kept], stay[extra]), np.append(regular[kept], other_minute[extra]))


def _readings(rng: np.random.Generator, course: Course, rounds: Rounds, quantity: Quantity, items: ItemTable) -> Events:
    """Readings in most rounds; items: (source, 1 or 2), the second id used now and then."""
    taken = rounds.take(rng.random(rounds.stay.size) < _READING_KEPT)
    second = (rng.random(taken.stay.size) < _VENTILATOR_COUNT) & (items.shape[1] > 1)
    value = quantity.read(rng, course, taken.stay, taken.hours)
    return taken.chart(items[taken.source, second.astype(np.int64)], value)


def _blood_pressure(rng: np.random.Generator, course: Course, rounds: Rounds) -> list[Events]:
    """Both pressures of a round at the site in use; beside an arterial line a cuff checks it now and then."""
    has_line = rng.random(course.baseline.size) < tilt(_ARTERIAL_LINE, _ATTENTION_LINE * course.baseline)
    luck = rng.random(rounds.stay.size)
    by_line = np.select([luck < 0.03, luck < 0.88], [_SECOND_ARTERIAL, _ARTERIAL], _CUFF)
    by_cuff = np.where(luck < 0.02, _BY_HAND, _CUFF)
    site = np.where(has_line[rounds.stay], by_line, by_cuff)
    kept = rng.random(rounds.stay.size) < _READING_KEPT
    checked = kept & (site == _ARTERIAL) & (rng.random(rounds.stay.size) < _CUFF_CHECK)

    taken = rounds.take(np.append(np.flatnonzero(kept), np.flatnonzero(checked)))
    sites = np.append(site[kept], np.full(int(checked.sum()), _CUFF))
    systolic = physiology.SBP.read(rng, course, taken.stay, taken.hours)
    diastolic = np.minimum(physiology.DBP.read(rng, course, taken.stay, taken.hours), systolic - 8)
    return [
        taken.chart(_SYSTOLIC[taken.source, sites], systolic),
        taken.chart(_DIASTOLIC[taken.source, sites], diastolic),
    ]


def _temperature(rng: np.random.Generator, course: Course, rounds: Rounds) -> list[Events]:
    """Temperatures every few hours, each stay on one scale, and the copies that CareVue calculates."""
    luck = rng.random(course.baseline.size)
    taken = rounds.take(rng.random(rounds.stay.size) < _TEMPERATURE_KEPT)
    celsius = physiology.TEMPERATURE.measure(rng, course, taken.stay, taken.hours)
    in_fahrenheit = luck[taken.stay] < _FAHRENHEIT[taken.source]
    scale = in_fahrenheit.astype(np.int64)
    fahrenheit = celsius * 1.8 + 32.0
    reading = np.where(in_fahrenheit, fahrenheit, celsius).round(1)
    converted = np.where(in_fahrenheit, celsius, fahrenheit).round(1)
    calculated = taken.chart(_CALCULATED_TEMPERATURE[scale], converted)
    return [
        taken.chart(_TEMPERATURE[taken.source, scale], reading),
        calculated.take(taken.source == Source.CAREVUE),
    ]


def _decoys(rng: np.random.Generator, cohort: Cohort, rounds: Rounds) -> list[Events]:
    """Rows that look like vital signs by label: set respiratory rates, oxygen limits, skin temperature."""
    ventilated = rng.random(cohort.stays) < _VENTILATED
    rate, limit, skin = (rng.random(rounds.stay.size) < share for share in (_SET_RATE, _LIMIT, _SKIN))
    of_rate = rounds.take(rate & ventilated[rounds.stay])
    of_limit = rounds.take(limit)
    of_skin = rounds.take(skin & (rounds.source == Source.METAVISION))
    words = rng.integers(0, len(SKIN_WORDS), of_skin.stay.size).astype(np.float64)
    return [
        of_rate.chart(_SET_RESP_RATE[of_rate.source], rng.choice([10.0, 12.0, 16.0, 20.0], of_rate.stay.size)),
        of_limit.chart(_SPO2_LIMIT[of_limit.source], rng.choice([85.0, 88.0, 90.0], of_limit.stay.size)),
        of_skin.chart(SKIN_TEMPERATURE, words, Mark.TEXT),
    ]


def _copied_labs(cohort: Cohort, labs: Events) -> Events:
    """Laboratory values as nurses copy them by hand, exactly an hour after the sample was drawn."""
    originals = np.array(sorted(LAB_COPIES))
    copies = np.array([LAB_COPIES[item] for item in originals.tolist()])
    in_icu = labs.seconds >= cohort.intime[labs.stay]
    rows = labs.take(in_icu & (labs.mark == Mark.PLAIN) & np.isin(labs.item, originals))
    items = copies[np.searchsorted(originals, rows.item), cohort.stay_source[rows.stay]]
    return Events.of(rows.stay, rows.seconds + HOUR, items, rows.value)


def _with_slips(rng: np.random.Generator, cohort: Cohort, readings: Events) -> Events:
    """Readings with slips: absurd values that stay, and wrong ones that MetaVision keeps as struck out."""
    luck = rng.random(readings.stay.size)
    # A sensor that had come off; or a decimal point lost, two numbers run together, as in 12080.
    absurd = np.where(luck < _ABSURD_RATE / 3, 0.0, np.round(readings.value * 100 + 80))
    value = np.where(luck < _ABSURD_RATE, absurd, readings.value)
    standing = Events(readings.stay, readings.seconds, readings.item, value, readings.mark)

    is_metavision = cohort.stay_source[readings.stay] == Source.METAVISION
    wrong = readings.take(is_metavision & (rng.random(readings.stay.size) < _ERROR_RATE))
    off = np.round(wrong.value * rng.choice([0.6, 0.8, 1.2, 1.5], wrong.stay.size), 1)
    return Events.join([standing, Events.of(wrong.stay, wrong.seconds, wrong.item, off, Mark.ERROR)])

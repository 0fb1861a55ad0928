"""What the laboratory reports: panels drawn a few times a day, some never, the first before the ICU stay."""

from dataclasses import dataclass

import numpy as np

from ehr_attack.synthetic import physiology
from ehr_attack.synthetic.cohort import Cohort
from ehr_attack.synthetic.events import HOUR, Events, Mark, tilt, to_minute
from ehr_attack.synthetic.physiology import Quantity
from ehr_attack.synthetic.severity import FIRST_HOUR, LAST_HOUR, Course, FloatArray, IntArray

URINE_GLUCOSE = 51478
URINE_WORDS = ("NEG", "TR")


@dataclass(frozen=True)
class Panel:
    """Tests run on one sample: `tests` maps item id to quantity.

    A sample is drawn with chance `drawn` in each span of `every_hours`; a share `absent` of stays never has
    one.
    """

    tests: dict[int, Quantity]
    every_hours: int
    drawn: float
    absent: float


PANELS = (
    Panel(
        {
            50868: physiology.ANION_GAP,
            50882: physiology.BICARBONATE,
            50902: physiology.CHLORIDE,
            50912: physiology.CREATININE,
            50931: physiology.GLUCOSE,
            50971: physiology.POTASSIUM,
            50983: physiology.SODIUM,
            51006: physiology.BUN,
        },
        every_hours=8,
        drawn=0.75,
        absent=0.01,
    ),
    Panel(
        {50893: physiology.CALCIUM, 50960: physiology.MAGNESIUM, 50970: physiology.PHOSPHATE},
        every_hours=12,
        drawn=0.75,
        absent=0.04,
    ),
    Panel({51221: physiology.HAEMATOCRIT, 51265: physiology.PLATELETS}, every_hours=12, drawn=0.85, absent=0.01),
    Panel(
        {
            50802: physiology.BASE_EXCESS,
            50818: physiology.PACO2,
            50820: physiology.PH,
            50821: physiology.PO2,
        },
        every_hours=6,
        drawn=0.65,
        absent=0.22,
    ),
    Panel(
        {50808: physiology.IONISED_CALCIUM, 50809: physiology.GLUCOSE, 50822: physiology.POTASSIUM},
        every_hours=12,
        drawn=0.6,
        absent=0.35,
    ),
    Panel({50813: physiology.LACTATE}, every_hours=8, drawn=0.6, absent=0.22),
    Panel({50862: physiology.ALBUMIN}, every_hours=28, drawn=0.6, absent=0.35),
    Panel({51237: physiology.INR}, every_hours=14, drawn=0.7, absent=0.10),
    Panel(
        {URINE_GLUCOSE: physiology.URINE_GLUCOSE, 51491: physiology.URINE_PH},
        every_hours=42,
        drawn=0.5,
        absent=0.2,
    ),
)

DETECTION_LIMITS = {50813: 0.5, 50862: 1.0, 50882: 5, 50912: 0.2, 50931: 20, 51006: 3, 51237: 0.8, 51265: 5}
"""Item id -> the lowest value reported as a number; below it the report is text such as "<5"."""

_ABSURD_RATE, _CENSORED_RATE, _URINE_NEGATIVE = 0.0004, 0.004, 0.9
# The severely ill are sampled more: a shift of log-odds per standard deviation of baseline severity.
_ATTENTION_DRAWN, _ATTENTION_ABSENT = 0.25, 0.50


def usual_ranges(items: IntArray) -> tuple[FloatArray, FloatArray]:
    """The ends of the usual range of each item id, beyond which a result is flagged."""
    ranges = {item: quantity.usual_range for panel in PANELS for item, quantity in panel.tests.items()}
    known = np.array(sorted(ranges))
    low, high = np.array([ranges[item] for item in known.tolist()]).T
    which = np.searchsorted(known, items)
    return low[which], high[which]


def draw_labs(rng: np.random.Generator, cohort: Cohort, course: Course) -> Events:
    """All laboratory events of a block, in order of stay and time."""
    results = [event for panel in PANELS for event in _panel(rng, cohort, course, panel)]
    return _with_slips(rng, Events.join(results)).until(cohort.charted_until).in_order()


def _panel(rng: np.random.Generator, cohort: Cohort, course: Course, panel: Panel) -> list[Events]:
    stay, seconds = _samples(rng, cohort, course, panel)
    hours = (seconds - cohort.intime[stay]) / HOUR
    return [
        Events.of(stay, seconds, item, quantity.read(rng, course, stay, hours))
        for item, quantity in panel.tests.items()
    ]


def _samples(rng: np.random.Generator, cohort: Cohort, course: Course, panel: Panel) -> tuple[IntArray, IntArray]:
    """Stay index and time of each sample of a panel."""
    starts = np.arange(FIRST_HOUR, LAST_HOUR, panel.every_hours)
    shape = (cohort.stays, starts.size)
    drawn = rng.random(shape) < tilt(panel.drawn, _ATTENTION_DRAWN * course.baseline)[:, None]
    absent = rng.random(cohort.stays) < tilt(panel.absent, -_ATTENTION_ABSENT * course.baseline)
    drawn &= ~absent[:, None]
    hours = starts + panel.every_hours * rng.random(shape)
    seconds = to_minute(cohort.intime[:, None] + hours * HOUR)
    stays = np.broadcast_to(np.arange(cohort.stays)[:, None], shape)
    return stays[drawn], seconds[drawn]


def _with_slips(rng: np.random.Generator, results: Events) -> Events:
    """Results with slips: absurd numbers, results below the limit of detection, findings in words."""
    luck = rng.random(results.stay.size)
    value = np.where(luck < _ABSURD_RATE, np.round(results.value * 1000), results.value)
    has_limit = np.isin(results.item, list(DETECTION_LIMITS))
    in_words = (results.item == URINE_GLUCOSE) & (rng.random(results.stay.size) < _URINE_NEGATIVE)
    mark = results.mark.copy()
    mark[has_limit & (luck > 1.0 - _CENSORED_RATE)] = Mark.CENSORED
    mark[in_words] = Mark.TEXT
    value = np.where(in_words, rng.integers(0, len(URINE_WORDS), results.stay.size), value)
    return Events(results.stay, results.seconds, results.item, value, mark)

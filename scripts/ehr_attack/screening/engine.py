"""Screening: for each stay the smallest feasible changes of recorded values found that flip what the models predict.

What is screened is the prediction, right or wrong: of a new record nobody knows the outcome.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ehr_attack.attacks import CHUNK_ROWS, load_mode
from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.gradients import freeze, gradient_path
from ehr_attack.attacks.gradients.autograd import margins
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.problem import evaluated
from ehr_attack.attacks.queue import padded
from ehr_attack.attacks.single import scan
from ehr_attack.progress import Progress
from ehr_attack.screening import ATTACK
from ehr_attack.screening.changes import RecordChange, change_at
from ehr_attack.screening.evaluation import Evaluator
from ehr_attack.screening.flips import Flip, ScreenedStay, flip_of
from ehr_attack.screening.joint import JointModel, JointPath, JointSpace, joint_preprocessing, joint_victims
from ehr_attack.screening.refinement import SLACK, flipping, refined
from ehr_attack.screening.sharing import shared
from ehr_attack.screening.stays import Source, StayBatch
from ehr_attack.variables import Variable

STAYS_A_BATCH = 64
PROMISING = 0.02
"""A single value is tried where, by the gradient, a move within its usual range gives this share of the margin needed.

Of 453 values that flip 80 stays by themselves (synthetic, PhysioNet 2012; LSTM) it missed none, for 30 % of the tries.
"""


@dataclass(frozen=True)
class ScreenSettings:
    """What a change may be, and how it is searched.

    attack: `steps`, `rate`, `kappa`, `mutable` and `mutable_hours` of the run's mode `measurement`; levels: of mode
    `single`; alternatives: how many single values a stay are told, 0: none is looked for; exhaustive: try every single
    value, not only those that the gradient does not rule out (see PROMISING).
    """

    attack: Mapping[str, Any]
    levels: int
    alternatives: int
    exhaustive: bool = False


def screen(
    source: Source, variables: Sequence[Variable], settings: ScreenSettings, device: torch.device, cores: int = 1
) -> list[ScreenedStay]:
    """Screen every stay of `source`; sorted by id.

    cores: processes that share the stays on a CPU. There a stay's result depends on nothing but the stay. Raises
    UserError when one of them is killed.
    """
    batches = source.batches(STAYS_A_BATCH, with_events=True)
    work = functools.partial(screened, variables=variables, settings=settings, device=device)
    found: list[ScreenedStay] = []
    alone = device.type != "cpu" or min(cores, len(source.stay_ids) // STAYS_A_BATCH) <= 1
    with Progress("screen", len(source.stay_ids)) as progress:
        results = map(work, batches) if alone else shared(work, batches, cores, source.models.seed)
        for stays in results:
            found += stays
            progress.advance(len(stays))
    return sorted(found, key=lambda stay: stay.stay_id)


def screened(
    batch: StayBatch, variables: Sequence[Variable], settings: ScreenSettings, device: torch.device
) -> list[ScreenedStay]:
    """Screen the stays of one batch, in its order."""
    return list(_Screening(batch, variables, settings, device).stays())


class _Screening:
    """One batch of stays that the same models judge."""

    def __init__(
        self, batch: StayBatch, variables: Sequence[Variable], settings: ScreenSettings, device: torch.device
    ) -> None:
        assert batch.events is not None, "asked for by `screen`"
        self._batch, self._settings, self._device = batch, settings, device
        n_variables = len(variables)
        models = [checkpoint.model.to(device) for checkpoint in batch.checkpoints.values()]
        self._model = JointModel(models, n_variables)
        freeze(self._model)
        self._path = JointPath([gradient_path(model, device=device) for model in models], n_variables)
        scale = joint_preprocessing([checkpoint.preprocessing for checkpoint in batch.checkpoints.values()])
        may_change = settings.attack["mutable"], settings.attack["mutable_hours"]
        self._record = ChartedRecord.of(scale, variables, batch.events, *may_change)
        self._space = JointSpace(batch, self._record, variables, device)
        victims = joint_victims(batch, device)
        self._evaluator = Evaluator(self._model, victims, self._space, self._record)
        predicted = torch.from_numpy(self._evaluator.predicted).to(device)
        self._victims = dataclasses.replace(victims, labels=predicted)

    def stays(self) -> Iterator[ScreenedStay]:
        """The results, in the order of the batch."""
        kappa = float(self._settings.attack["kappa"])
        singles, counts = self._single_values(kappa)
        found = refined(self._searched(kappa), self._evaluator, kappa) + refined(singles, self._evaluator, kappa)
        flips: dict[int, list[Flip]] = defaultdict(list)
        logits = self._evaluator.logits(found)
        for number, change in enumerate(found):
            flips[change.stay].append(flip_of(change, logits[:, number], self._record))
        for stay in range(len(self._batch.stay_ids)):
            yield self._stay(stay, sorted(flips[stay], key=lambda flip: flip.order), counts[stay])

    def _searched(self, kappa: float) -> list[RecordChange]:
        """Of each stay the change with few values that the attack finds, as it could be charted, where it flips."""
        attack = self._settings.attack
        rows = CHUNK_ROWS[self._device.type]
        settings = SearchSettings((float("nan"),), attack["steps"], attack["rate"], kappa, rows)
        nearest: list[RecordChange] = []
        outward: list[RecordChange] = []
        model, victims, space, path = self._model, self._victims, self._space, self._path
        with Progress("search", len(victims.inputs), quiet=True) as quiet:
            for block in search(model, victims, load_mode(ATTACK), settings, quiet, space=space, path=path):
                stays, points = block.stay.cpu().numpy(), block.point.double().cpu().numpy()
                for away, kept in ((False, nearest), (True, outward)):
                    charted = self._record.rounded(stays, points, outward=away)
                    for stay, point in zip(stays, charted, strict=True):
                        kept.append(change_at(int(stay), point, self._record))
        flips = flipping(nearest, self._evaluator, kappa)
        done = {change.stay for change in flips}
        return flips + flipping([change for change in outward if change.stay not in done], self._evaluator, kappa)

    def _single_values(self, kappa: float) -> tuple[list[RecordChange], npt.NDArray[np.int64]]:
        """Every value that flips by itself at a level of the grid, at the nearest such level, and how many a stay."""
        counts = np.zeros(len(self._batch.stay_ids), dtype=np.int64)
        if not self._settings.alternatives:
            return [], counts
        with Progress("scan", len(counts), quiet=True) as quiet:
            results = scan(
                functools.partial(margins, self._model),
                self._space,
                self._tried(kappa),
                self._victims,
                levels=self._settings.levels,
                chunk_rows=CHUNK_ROWS[self._device.type],
                kappa=kappa + SLACK,
                progress=quiet,
            )
            changes = [
                RecordChange(result.stay, result.place[at : at + 1], result.value_after[at : at + 1])
                for result in results
                for at in range(len(result.place))
            ]
        kept = flipping(changes, self._evaluator, kappa)
        np.add.at(counts, [change.stay for change in kept], 1)
        return kept, counts

    def _tried(self, kappa: float) -> ChartedRecord:
        """The record, with only those values mutable that are tried by themselves."""
        if self._settings.exhaustive:
            return self._record
        count = len(self._batch.stay_ids)
        stays = padded(torch.arange(count, device=self._device), max(count, STAYS_A_BATCH))
        zero = torch.zeros(len(stays), self._space.size, device=self._device)
        margin, gradient = (part[:count] for part in evaluated(self._victims, self._space, self._path, stays, zero))
        needed = (kappa - margin).cpu().numpy().astype(np.float64)
        events, rules = self._record.events, self._record.rules
        place = (events.value - rules.low[events.feature]) / rules.scale[events.feature]
        farthest = np.maximum(np.abs(place), np.abs(1.0 - place))
        gained = np.abs(gradient.cpu().numpy()) * farthest
        return dataclasses.replace(self._record, mutable=self._record.mutable & (gained >= PROMISING * needed[:, None]))

    def _stay(self, stay: int, flips: list[Flip], n_single: int) -> ScreenedStay:
        single = [flip for flip in flips if len(flip.entries) == 1]
        told: list[Flip] = []
        for flip in single:  # The search may have found one of them too.
            if len(told) < self._settings.alternatives and flip.entries not in [other.entries for other in told]:
                told.append(flip)
        events = self._record.events
        shown = {entry.feature for flip in [*flips[:1], *told] for entry in flip.entries}
        traces = {
            feature: [(float(events.hours[stay, at]), float(events.value[stay, at])) for at in places]
            for feature in sorted(shown)
            for places in [np.flatnonzero(events.real[stay] & (events.feature[stay] == feature))]
        }
        return ScreenedStay(
            stay_id=int(self._batch.stay_ids[stay]),
            folds=tuple(self._batch.checkpoints),
            n_hours=int(self._batch.n_hours[stay]),
            n_values=int(events.real[stay].sum()),
            logits=self._evaluator.clean[:, stay],
            smallest=flips[0] if flips else None,
            single=tuple(told),
            n_single=int(n_single),
            traces=traces,
        )

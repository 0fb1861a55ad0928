"""What the models say of changed records: in float32 for tries, in float64 for the last word on what is reported."""

import copy

import numpy as np
import numpy.typing as npt
import torch

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.gradients import freeze
from ehr_attack.attacks.queue import padded
from ehr_attack.attacks.rows import Victims
from ehr_attack.screening.changes import RecordChange
from ehr_attack.screening.joint import JointModel, JointSpace

_Floats = npt.NDArray[np.float64]
_ROWS = 64
"""Rows computed at once, always so many: a row's result then does not depend on how many there are."""
_CHANGES_A_BLOCK = 512
_SAME = 1e-9


class Evaluator:
    """Some stays' models in float64, and the rules that a change of their records must keep.

    record: with the rules; clean: float64 (models, stays), the logits of death of the records as they are; predicted:
    int64 (stays,), 1 where their mean is above 0.
    """

    def __init__(self, model: JointModel, victims: Victims, space: JointSpace, record: ChartedRecord) -> None:
        """victims: their labels are not used."""
        self.record = record
        self._device = victims.inputs.device
        self._models = {torch.float32: model, torch.float64: copy.deepcopy(model).to(self._device).double()}
        for each in self._models.values():
            freeze(each)
        self._victims, self._space = victims, space
        self.clean = self.logits([RecordChange.none(stay) for stay in range(len(victims.inputs))])
        self.predicted = (self.clean.mean(axis=0) > 0).astype(np.int64)

    def logits(self, changes: list[RecordChange], dtype: torch.dtype = torch.float64) -> _Floats:
        """The logit of death, logit_1 - logit_0, by each model in `dtype`, float64 (models, changes)."""
        model, found = self._models[dtype], []
        with torch.no_grad():
            for start in range(0, len(changes), _ROWS):
                part = changes[start : start + _ROWS]
                stays = padded(torch.tensor([change.stay for change in part]), _ROWS).to(self._device)
                point = padded(torch.from_numpy(self._points(part)), _ROWS).to(self._device)
                seen = self._victims.seen(stays, self._space.features(stays, point).to(dtype))
                logits = model.each(seen, self._victims.lengths[stays]).double()
                found.append((logits[..., 1] - logits[..., 0])[:, : len(part)].cpu().numpy())
        return np.concatenate([np.zeros((len(model.models), 0)), *found], axis=1)

    def margins(self, changes: list[RecordChange], dtype: torch.dtype = torch.float64) -> _Floats:
        """By how far the mean logit of each change passes zero, away from the prediction; -inf where not feasible."""
        margins = np.full(len(changes), -np.inf)
        allowed = np.flatnonzero(self._feasible(changes))
        if len(allowed):
            kept = [changes[number] for number in allowed]
            predicted = self.predicted[[change.stay for change in kept]]
            margins[allowed] = self.logits(kept, dtype).mean(axis=0) * (1 - 2 * predicted)
        return margins

    def _feasible(self, changes: list[RecordChange]) -> npt.NDArray[np.bool_]:
        """Bool (changes,): something changes, and the rules leave the change as it is."""
        feasible = np.zeros(len(changes), dtype=bool)
        for start in range(0, len(changes), _CHANGES_A_BLOCK):
            block = changes[start : start + _CHANGES_A_BLOCK]
            stays = np.array([change.stay for change in block], dtype=np.int64)
            point = self._points(block)
            kept = np.abs(self.record.rounded(stays, point) - point).max(axis=1) < _SAME
            feasible[start : start + len(block)] = kept & point.any(axis=1)
        return feasible

    def _points(self, changes: list[RecordChange]) -> _Floats:
        """The changes as points of the space, (changes, size)."""
        events, scale = self.record.events, self.record.rules.scale
        points = np.zeros((len(changes), events.size))
        for row, change in enumerate(changes):
            before, feature = events.value[change.stay, change.place], events.feature[change.stay, change.place]
            points[row, change.place] = (change.value - before) / scale[feature]
        return points

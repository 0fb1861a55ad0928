"""Several models of one record as one model: each with its own preprocessing, and the mean of their logits.

The models of a run's folds scale, winsorise and impute by their own training patients, so what they share is the
recorded values. A point is a change of these; each model sees its own features of it, side by side: the value channels
of the first model, of the second, and so on, then the channels that no attack changes and that all models share (masks
and times). With one model, all of this is that model.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.gradients import GradientPath
from ehr_attack.attacks.measurement_space import MeasurementSpace
from ehr_attack.attacks.rows import Victims
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.screening.stays import StayBatch
from ehr_attack.variables import Variable


class JointModel(nn.Module):
    """Models, each on its own part of the inputs -> the mean of their logits."""

    def __init__(self, models: Sequence[nn.Module], n_variables: int) -> None:
        """n_variables: value channels of each model."""
        super().__init__()
        self.models = nn.ModuleList(models)
        self._n_variables = n_variables

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (batch, 2) of inputs (batch, hours, channels of all models); lengths: int64 (batch,), valid hours."""
        return self.each(inputs, lengths).mean(dim=0)

    def each(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (models, batch, 2) of each model by itself."""
        seen = parts_of(inputs, len(self.models), self._n_variables)
        return torch.stack([model(part, lengths) for model, part in zip(self.models, seen, strict=True)])


def parts_of(inputs: Tensor, n_models: int, n_variables: int) -> list[Tensor]:
    """What each model sees, each (batch, hours, channels of a model): its values, and the channels that all share."""
    values = inputs[..., : n_models * n_variables].chunk(n_models, dim=-1)
    shared = inputs[..., n_models * n_variables :]
    return [torch.cat([part, shared], dim=-1) if shared.shape[-1] else part.contiguous() for part in values]


class JointPath:
    """Margins and gradients of a JointModel by the paths of its models (see `attacks.gradients.GradientPath`)."""

    name: ClassVar[str] = "joint"

    def __init__(self, paths: Sequence[GradientPath], n_variables: int) -> None:
        self._paths, self._n_variables = list(paths), n_variables
        self.any_rows = all(path.any_rows for path in paths)

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean margin (rows,), and the gradient of its negative; by channels that are no values, 0."""
        seen = parts_of(inputs, len(self._paths), self._n_variables)
        found = [path(part, lengths, labels) for path, part in zip(self._paths, seen, strict=True)]
        margin = torch.stack([of_model for of_model, _ in found]).mean(dim=0)
        gradient = torch.zeros_like(inputs)
        by_values = torch.cat([by[..., : self._n_variables] for _, by in found], dim=-1) / len(found)
        gradient[..., : by_values.shape[-1]] = by_values
        return margin, gradient


def joint_preprocessing(parts: Sequence[Preprocessing]) -> Preprocessing:
    """The scale in which changes are measured: from the lowest 1st to the highest 99th percentile of the models.

    A variable that one model has seen is seen; with one model this is its own preprocessing. Used for sizes and for
    the range in which values are tried, never for what a model sees.
    """
    if len(parts) == 1:
        return parts[0]
    seen = np.stack([part.seen for part in parts])
    low = np.where(seen, np.stack([part.low for part in parts]), np.inf).min(axis=0)
    high = np.where(seen, np.stack([part.high for part in parts]), -np.inf).max(axis=0)
    known: npt.NDArray[np.bool_] = np.asarray(seen.any(axis=0))
    median = np.where(seen, np.stack([part.median for part in parts]), 0.0).sum(axis=0) / seen.sum(axis=0).clip(1)
    return Preprocessing(
        imputation=parts[0].imputation,
        variable_names=parts[0].variable_names,
        low=np.where(known, low, 0.0),
        high=np.where(known, high, 1.0),
        median=median,
        seen=known,
    )


class JointSpace:
    """The recorded values of stays, as several models see them (an `attacks.space.Space`).

    A point (rows, size) is the change of each recorded value as a share of the scale of `joint_preprocessing`.
    """

    def __init__(
        self, batch: StayBatch, record: ChartedRecord, variables: Sequence[Variable], device: torch.device | str
    ) -> None:
        """record: the batch's recorded values with the rules for changing them, in the joint scale."""
        self.size = record.events.size
        low, high = record.bounds()
        self._low, self._high = (torch.from_numpy(limit).float().to(device) for limit in (low, high))
        self._spaces: list[MeasurementSpace] = []
        self._ratios: list[Tensor] = []
        for checkpoint in batch.checkpoints.values():
            own = ChartedRecord.of(checkpoint.preprocessing, variables, record.events, "all")
            self._spaces.append(
                MeasurementSpace.of(checkpoint.preprocessing, own, batch.values, batch.carry_in, batch.n_hours, device)
            )
            ratio = (record.rules.scale / own.rules.scale)[record.events.feature]
            self._ratios.append(torch.from_numpy(ratio).to(device))

    def features(self, stays: Tensor, point: Tensor) -> Tensor:
        """The scaled features (rows, hours, models x variables) of the records changed by `point`, in its dtype."""
        return torch.cat([space.features(stays, own) for space, own in self._own(stays, point)], dim=-1)

    def pull(self, stays: Tensor, point: Tensor, gradient: Tensor) -> Tensor:
        """The gradient (rows, size) by `point` from the one by `features`, by the rule of `MeasurementSpace.pull`."""
        parts = gradient.chunk(len(self._spaces), dim=-1)
        total = torch.zeros_like(point)
        for (space, own), part, ratio in zip(self._own(stays, point), parts, self._ratios, strict=True):
            total += space.pull(stays, own, part.contiguous()) * ratio[stays].to(point.dtype)
        return total

    def bounds(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest and the largest change of each value, each (rows, size); 0 where nothing may change."""
        return self._low[stays], self._high[stays]

    def _own(self, stays: Tensor, point: Tensor) -> list[tuple[MeasurementSpace, Tensor]]:
        """Each model's space, with the point in its scale."""
        ratios = [ratio[stays].to(point.dtype) for ratio in self._ratios]
        return [(space, point * ratio) for space, ratio in zip(self._spaces, ratios, strict=True)]


def joint_victims(batch: StayBatch, device: torch.device | str) -> Victims:
    """The batch as the engine attacks it; the labels, the predicted classes, are to be filled in."""
    inputs = [batch.inputs(checkpoint) for checkpoint in batch.checkpoints.values()]
    n_variables = batch.values.shape[-1]
    values = torch.from_numpy(np.concatenate([part[..., :n_variables] for part in inputs], axis=-1))
    return Victims(
        inputs=values,
        lengths=torch.from_numpy(batch.n_hours),
        labels=torch.zeros(len(batch.stay_ids), dtype=torch.int64),
        mutable=torch.ones_like(values, dtype=torch.bool),
        constants=torch.from_numpy(inputs[0][..., n_variables:]),
        keys=torch.from_numpy(batch.stay_ids),
    ).to(torch.device(device))

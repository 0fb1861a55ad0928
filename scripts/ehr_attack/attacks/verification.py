"""Three flags that prove each flip: as the search saw it, in float64, and in float64 as the record could be charted."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehr_attack.attacks.engine import in_chunks
from ehr_attack.attacks.gradients import freeze
from ehr_attack.attacks.rows import FinishedRows, Victims
from ehr_attack.attacks.space import Space

Feasible = Callable[[Tensor, Tensor, bool], Tensor]
"""(stays, point, outward) -> the nearest feasible point, float64: in range, in the mutable cells, at charted precision,
relations kept. outward: changes are rounded away from zero, which keeps flips that rounding to the nearest loses."""


@dataclass(frozen=True)
class JudgedRows:
    """Finished rows with what was recomputed of them, each (rows,) on the CPU.

    found: the rows as the search left them; point: float64 (rows, size), the perturbation that counts: feasible where
    the mode must be, else as found; margin: float64, logit_t - logit_y there; margin_clean, margin_float64,
    margin_feasible: the same of the unchanged record, at the found point, and at the feasible one; flipped_float64,
    feasible, success: bool.
    """

    found: FinishedRows
    point: Tensor
    margin: Tensor
    margin_clean: Tensor
    margin_float64: Tensor
    margin_feasible: Tensor
    flipped_float64: Tensor
    feasible: Tensor
    success: Tensor


class Judge:
    """Recomputes what the search claims, each row by itself, in float64.

    The float64 model is its own; of the search, the rows found are used, and the space by which they change a record.
    """

    def __init__(
        self,
        model: nn.Module,
        victims: Victims,
        space: Space,
        feasible: Feasible,
        *,
        constrained: bool,
        kappa: float,
        chunk_rows: int,
    ) -> None:
        self._device = victims.inputs.device
        self._model = copy.deepcopy(model).to(self._device).double()
        freeze(self._model)
        self._victims, self._space, self._rules = victims, space, feasible
        self._constrained, self._kappa, self._chunk_rows = constrained, kappa, chunk_rows
        stays = torch.arange(len(victims.inputs), device=self._device)
        self._clean = torch.cat(
            [self._evaluated(part, self._zero(part)) for part in torch.split(stays, max(1, chunk_rows))]
        )

    def judge(self, rows: FinishedRows) -> JudgedRows:
        """Recompute a block of finished rows."""
        stays, point = rows.stay.to(self._device), rows.point.to(self._device)
        found = point.double()
        margin_found = self._margins(stays, found)
        feasible = self._rules(stays, point, False)
        margin_feasible = self._margins(stays, feasible)
        lost = ((margin_found > self._kappa) & ~(margin_feasible > self._kappa)).nonzero().flatten()
        if len(lost):
            outward = self._rules(stays[lost], point[lost], True)
            margin_outward = self._margins(stays[lost], outward)
            won = margin_outward > self._kappa
            feasible[lost[won]], margin_feasible[lost[won]] = outward[won], margin_outward[won]
        is_feasible = margin_feasible > self._kappa
        if self._constrained:
            point, margin, success = feasible, margin_feasible, is_feasible & ~rows.pruned.to(self._device)
        else:
            point, margin, success = found, margin_found, rows.flipped
        return JudgedRows(
            found=rows,
            point=point.cpu(),
            margin=margin.cpu(),
            margin_clean=self._clean[stays].cpu(),
            margin_float64=margin_found.cpu(),
            margin_feasible=margin_feasible.cpu(),
            flipped_float64=(margin_found > self._kappa).cpu(),
            feasible=is_feasible.cpu(),
            success=success.cpu(),
        )

    def _zero(self, stays: Tensor) -> Tensor:
        return torch.zeros(len(stays), self._space.size, dtype=torch.float64, device=self._device)

    def _margins(self, stays: Tensor, point: Tensor) -> Tensor:
        """float64 margins (rows,) at `point`; a zero perturbation has the clean margin, known already."""
        margin = self._clean[stays].clone()
        changed = point.any(dim=1).nonzero().flatten()
        if len(changed):
            margin[changed] = self._evaluated(stays[changed], point[changed])
        return margin

    def _evaluated(self, stays: Tensor, point: Tensor) -> Tensor:
        victims = self._victims
        return in_chunks(
            self._model,
            victims.seen(stays, self._space.features(stays, point)),
            victims.lengths[stays],
            victims.labels[stays],
            self._chunk_rows,
        )

"""The tables of an attack on any model: judged rows, of which only the entries that changed are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.queue import left_out
from ehr_attack.attacks.verification import JudgedRows


@dataclass(frozen=True)
class Block:
    """Judged rows; row, entry, delta: the entries of their points that are not 0."""

    stay: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    flags: Mapping[str, npt.NDArray[np.bool_]]
    steps: npt.NDArray[np.int64]
    margin: npt.NDArray[np.float64]
    margin_clean: npt.NDArray[np.float64]
    row: npt.NDArray[np.int64]
    entry: npt.NDArray[np.int64]
    delta: npt.NDArray[np.float64]

    @classmethod
    def of(cls, judged: JudgedRows) -> "Block":
        """The block of judged rows."""
        found, point = judged.found, judged.point.numpy()
        row, entry = np.nonzero(point)
        flags = {name: getattr(found, name).cpu().numpy() for name in ("flipped", "pruned", "audited", "rested")}
        return cls(
            stay=found.stay.cpu().numpy(),
            position=found.position.cpu().numpy(),
            flags=flags | {"flipped_float64": judged.flipped_float64.numpy(), "success": judged.success.numpy()},
            steps=found.steps.cpu().numpy(),
            margin=judged.margin.numpy(),
            margin_clean=judged.margin_clean.numpy(),
            row=row,
            entry=entry,
            delta=point[row, entry],
        )

    def frame(self) -> pd.DataFrame:
        """One line a row."""
        columns = {"stay": self.stay, "position": self.position, **self.flags, "steps": self.steps}
        return pd.DataFrame(columns | {"margin": self.margin, "margin_clean": self.margin_clean})

    def cells(self) -> pd.DataFrame:
        """One line a changed entry."""
        where = {"stay": self.stay[self.row], "position": self.position[self.row]}
        return pd.DataFrame(where | {"entry": self.entry, "delta": self.delta})


_FLAGS = ("flipped", "flipped_float64", "success", "pruned", "audited", "rested")
_NO_CELLS = pd.DataFrame({"stay": 0, "position": 0, "entry": 0, "delta": 0.0}, index=[])
_NO_ROWS = pd.DataFrame(
    {"stay": 0, "position": 0, **dict.fromkeys(_FLAGS, False), "steps": 0, "margin": 0.0, "margin_clean": 0.0}, index=[]
)


def tables_of(
    blocks: Sequence[Block],
    samples: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    settings: SearchSettings,
    n_features: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes and perturbations of all rows, sorted by sample and lambda; see `AttackResult`.

    samples, labels: (stays,), position in the inputs and class of the attacked ones.
    """
    frames = [block.frame() for block in blocks]
    rows = pd.concat([_NO_ROWS, *frames]).astype(_NO_ROWS.dtypes).sort_values(["stay", "position"], ignore_index=True)
    cells = pd.concat([_NO_CELLS, *(block.cells() for block in blocks)]).astype(_NO_CELLS.dtypes)
    size = cells.assign(size=cells["delta"].abs()).groupby(["stay", "position"])["size"].agg(["sum", "max", "size"])
    size = size.reindex(pd.MultiIndex.from_frame(rows[["stay", "position"]]), fill_value=0.0)
    rows = rows.assign(
        l1=size["sum"].to_numpy(), linf=size["max"].to_numpy(), n_changed=size["size"].to_numpy(np.int64)
    )
    if settings.prune:
        _leave_out(rows, len(settings.lambdas))
    stay, position = rows.pop("stay").to_numpy(), rows.pop("position").to_numpy()
    outcomes = pd.DataFrame(
        {
            "sample": samples[stay],
            "label": labels[stay],
            "lambda": np.asarray(settings.lambdas)[position],
        }
    ).join(rows.drop(columns=["margin_clean", "rested", *([] if settings.prune else ["pruned", "audited"])]))
    won = pd.MultiIndex.from_arrays([stay, position])[outcomes["success"].to_numpy()]
    cells = cells[pd.MultiIndex.from_frame(cells[["stay", "position"]]).isin(won)]
    cells = cells.sort_values(["stay", "position", "entry"], ignore_index=True)
    perturbations = pd.DataFrame(
        {
            "sample": samples[cells["stay"]],
            "lambda": np.asarray(settings.lambdas)[cells["position"]],
            "time": cells["entry"] // n_features,
            "feature": cells["entry"] % n_features,
            "delta": cells["delta"],
        }
    )
    return outcomes, perturbations


def _leave_out(rows: pd.DataFrame, n_positions: int) -> None:
    """Mark in place which rows (whole stays, sorted) pruning leaves out: they found nothing. See `left_out`."""
    flags = (rows[name].to_numpy().reshape(-1, n_positions) for name in ("flipped", "pruned", "audited", "rested"))
    rows["pruned"], rows["audited"] = (part.ravel() for part in left_out(*flags))
    rows.loc[rows["pruned"], ["flipped", "flipped_float64", "success"]] = False
    rows.loc[rows["pruned"], ["steps", "l1", "linf", "n_changed"]] = 0
    rows.loc[rows["pruned"], "margin"] = rows["margin_clean"]

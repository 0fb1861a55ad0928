"""Going on with fewer rows at once when the memory of a GPU does not take them."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ehr_attack.errors import UserError

_log = logging.getLogger(__name__)

Result = TypeVar("Result", Tensor, tuple[Tensor, Tensor])


class RowsAtOnce:
    """Calls functions of rows with as many rows at once as there was memory for so far.

    For functions whose rows do not depend on each other: the number at once changes nothing but rounding. Only a GPU
    that is out of memory halves it. On a CPU it never changes, and results stay the same bytes.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def __call__(self, function: Callable[..., Result], *rows: Tensor) -> Result:
        """`function(*rows)`, all at once or in parts that are joined.

        rows: tensors with the same first axis, the row; `function` gives one tensor or two with that axis. Raises
        UserError where the memory does not take a single row.
        """
        while True:
            parts = self._parts(function, rows)
            if parts is not None:
                return _joined(parts)
            # The failed call's tensors are free only now that its exception is gone.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _parts(self, function: Callable[..., Result], rows: tuple[Tensor, ...]) -> list[Result] | None:
        """The results part by part; None when memory ran out, with a smaller number at once from now on."""
        count = max(len(rows[0]), 1)
        most = min(self._most or count, count)
        try:
            return [function(*part) for part in zip(*(torch.split(tensor, most) for tensor in rows), strict=True)]
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        if most == 1:
            raise UserError(
                "attack: the GPU's memory does not take a single row. Free its memory (see `nvidia-smi`), or set "
                "attack.device to cpu; then run snakemake again."
            )
        self._most = most // 2
        _log.warning("out of GPU memory with %d rows at once; going on with %d (attack.chunk_rows)", most, self._most)
        return None


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Metal has no error of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "MPS backend out of memory" in str(error)


def _joined(parts: list[Result]) -> Result:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]

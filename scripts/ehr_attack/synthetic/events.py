"""Charted events of a block of stays as parallel arrays, shared by nursing charts and laboratory."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from ehr_attack.synthetic.severity import FloatArray, IntArray

MINUTE, HOUR, DAY = 60, 3_600, 86_400


class Mark(IntEnum):
    """What is special about an event."""

    PLAIN = 0
    ERROR = 1
    """Struck out by the nurse afterwards (`ERROR = 1`); the value is wrong."""
    CENSORED = 2
    """Below the limit of detection: text such as "<5" and no number."""
    TEXT = 3
    """A finding in words; the value is the index of the word."""


@dataclass(frozen=True)
class Events:
    """Rows of events: stay index in the block, seconds since 1970, item id, value in its unit, Mark."""

    stay: IntArray
    seconds: IntArray
    item: IntArray
    value: FloatArray
    mark: npt.NDArray[np.int8]

    @classmethod
    def of(
        cls,
        stay: IntArray,
        seconds: IntArray,
        item: IntArray | int,
        value: FloatArray,
        mark: Mark = Mark.PLAIN,
    ) -> Self:
        """Rows from arrays of one length; a single item id and mark stand for all of them."""
        items = np.broadcast_to(np.asarray(item, dtype=np.int64), stay.shape)
        return cls(stay, seconds, items, value, np.full(stay.size, mark, dtype=np.int8))

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """All rows of `parts`, one part after the other."""
        columns = zip(*((p.stay, p.seconds, p.item, p.value, p.mark) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def take(self, rows: npt.NDArray[np.bool_]) -> Self:
        """The rows that a mask selects."""
        return self._pick(rows)

    def in_order(self) -> Self:
        """The rows sorted by stay, time and item."""
        return self._pick(np.lexsort((self.item, self.seconds, self.stay)))

    def until(self, end: IntArray) -> Self:
        """The rows before the end of their stay; end: (stays,), seconds since 1970."""
        return self._pick(self.seconds < end[self.stay])

    def _pick(self, rows: npt.NDArray[np.bool_] | IntArray) -> Self:
        return type(self)(self.stay[rows], self.seconds[rows], self.item[rows], self.value[rows], self.mark[rows])


def to_minute(seconds: FloatArray | IntArray) -> IntArray:
    """Times in seconds, rounded down to the whole minute at which they are charted."""
    return np.asarray(seconds // MINUTE, dtype=np.int64) * MINUTE


def tilt(probability: float, towards: FloatArray) -> FloatArray:
    """Shift a probability by `towards` on the log-odds scale, on which it stays a probability."""
    odds = probability / (1.0 - probability) * np.exp(towards)
    return odds / (1.0 + odds)

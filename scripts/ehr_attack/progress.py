"""Progress of long steps: one updating line in a terminal, a plain log line now and then elsewhere."""

import logging
import sys
import time
from types import TracebackType
from typing import Self, TextIO

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 15.0
_log = logging.getLogger(__name__)


class Progress:
    """Count work done and say so: `with Progress("attack", total, "rows") as progress: progress.advance(64)`."""

    def __init__(
        self, label: str, total: int, unit: str = "stays", stream: TextIO | None = None, *, quiet: bool = False
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._done = 0
        self._note = ""
        self._quiet = quiet

    def __enter__(self) -> Self:
        self._start = self._shown = time.monotonic()
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add `count` to the work done; `note` (aggregates only) is shown behind the rate."""
        self._done += count
        self._note = note or self._note
        now = time.monotonic()
        if now - self._shown >= (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            self._shown = now
            self._show(now)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._show(time.monotonic())
            if self._terminal and not self._quiet:
                self._stream.write("\n")

    def _show(self, now: float) -> None:
        if self._quiet:
            return
        line = self._line(now)
        if self._terminal:
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()
        else:
            _log.info(line)

    def _line(self, now: float) -> str:
        seconds = max(now - self._start, 1e-9)
        rate = self._done / seconds
        parts = [f"{self._label}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.0f}/s"]
        if 0 < self._done < self._total:
            parts.append(f"{(self._total - self._done) / rate:,.0f} s left")
        elif self._done >= self._total:
            parts.append(f"{seconds:,.1f} s")
        if self._note:
            parts.append(self._note)
        return ", ".join(parts)

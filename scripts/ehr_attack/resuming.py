"""The state of an interrupted computation in one safetensors file, kept for as long as it fits its key."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ehr_attack.storage import atomic_path

_log = logging.getLogger(__name__)
_SHARE_OF_TIME = 0.02
"""How much of the working time goes into keeping the state, at most."""


class ResumeFile:
    """A file for the state of a computation, in a folder of its own that nothing else is kept in.

    key: plain values that decide what is computed (settings, code and data digests); a state of another key is not
    taken up. The file holds its own digest: one that was cut off or altered is not taken up either.
    """

    def __init__(self, folder: Path, key: Any) -> None:
        self._folder, self._file = folder, folder / "state.safetensors"
        self._key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self._pause = 0.0
        self._saved = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors (on the CPU) and values last saved for this key; None, and a line in the log, where unusable."""
        if not self._file.is_file():
            return None
        try:
            with safe_open(self._file, framework="pt") as opened:
                stored = json.loads((opened.metadata() or {})["state"])
            if stored["key"] != self._key:
                _log.info("a state of an earlier run is there, of other settings, code or data: starting anew")
                return None
            tensors = load(self._file.read_bytes())
            if stored["digest"] != _digest(tensors, stored["values"]):
                raise ValueError("digest")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
            _log.warning("the state of an earlier run is damaged: starting anew")
            return None
        return tensors, stored["values"]

    def due(self) -> bool:
        """Whether enough time has passed since the last `save` that another one costs little."""
        return time.monotonic() - self._saved >= self._pause

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the file. values: what JSON can hold; numbers come back as they were."""
        start = time.monotonic()
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        state = {"key": self._key, "values": values, "digest": _digest(on_cpu, values)}
        with atomic_path(self._file) as temporary:
            temporary.write_bytes(save(on_cpu, metadata={"state": json.dumps(state)}))
        self._saved = time.monotonic()
        self._pause = (self._saved - start) / _SHARE_OF_TIME


def discard(folder: Path) -> None:
    """Remove a `ResumeFile`'s folder: the computation is finished and its results are written."""
    shutil.rmtree(folder, ignore_errors=True)


def _digest(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> str:
    # As JSON gives them back, so that what was saved and what is read compare equal.
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True)
    return hashlib.sha256(text.encode() + save(dict(tensors))).hexdigest()


def rng_states() -> dict[str, Tensor]:
    """The states of torch's global generators, by device; uint8."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_states(states: Mapping[str, Tensor]) -> None:
    """The inverse of `rng_states`."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])

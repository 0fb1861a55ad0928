"""Choosing the device that a job computes on, and making torch deterministic on it."""

import ctypes
import importlib
import logging
import os
import platform
from typing import Any

import torch

from ehr_attack.errors import UserError

_log = logging.getLogger(__name__)

# Of <malloc.h>; the second is also the largest block that is to come from freed memory, bytes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30
# Imported by name: which of several GPUs a job takes does not decide what it computes, so an edit there reruns nothing.
_LEASES = "ehr_attack.device_leases"


def choose_device(wanted: str, key: str) -> torch.device:
    """The torch device for `wanted` (auto, cpu, cuda or mps); says in the log which one was taken.

    Of several GPUs it is one on which no other process of this user computes; waits for one where all are taken, and
    keeps it until the process ends. With `auto` a GPU that cannot be used is passed over, with a warning. `key` is the
    config key that asked, for messages. Raises UserError when the device that was asked for is not there.
    """
    trouble = _take_gpu() if wanted in ("auto", "cuda") else None
    available = {
        "cuda": trouble is None,
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        wanted = next(name for name, there in available.items() if there)
        if trouble and _leases().is_gpu_there():
            _log.warning("%s is auto and there is a GPU, but %s; computing on %s", key, trouble, wanted)
    if not available[wanted]:
        reason = trouble or f"this machine offers torch {torch.__version__} no {wanted} device"
        raise UserError(
            f"{key}: {wanted} was asked for, but {reason}. "
            f"Set {key} to auto or cpu, or run on a machine (and with a torch build) that has one."
        )
    name = torch.cuda.get_device_name() if wanted == "cuda" else wanted
    _log.info("device: %s (%d thread(s) on the CPU)", name, torch.get_num_threads())
    return torch.device(wanted)


def _take_gpu() -> str | None:
    """Make a GPU that is free the current one, on which torch puts what goes to `cuda`; or else why there is none."""
    if not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            return f"this machine offers torch {torch.__version__}, a build for the CPU only"
        return f"this machine offers torch {torch.__version__} no GPU that it can use (see `nvidia-smi`)"
    try:
        torch.cuda.set_device(_leases().lease(torch.cuda.device_count()))
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        return f"CUDA does not start: {str(error).splitlines()[0]}"
    return None


def _leases() -> Any:
    return importlib.import_module(_LEASES)


def make_deterministic(seed: int, threads: int = 1) -> None:
    """Seed torch and make it deterministic; one thread a job keeps CPU results independent of the machine's load."""
    # cuBLAS is deterministic with this setting only, and reads it when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # cuDNN would round the factors of its products to 10 bits and call it float32.
    torch.backends.cudnn.allow_tf32 = False
    # That also fills new tensors with NaN, to expose operations that read what nobody wrote, in a fifth of a step's
    # time. None does: `test_nothing_reads_what_was_not_written`.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


def reuse_freed_memory() -> None:
    """Let the C library keep freed blocks for the next batch instead of giving them back to the system each time.

    With glibc's defaults, blocks above 32 MB are mapped anew, page by page, in every step: an LSTM on 128 stays then
    trains at two thirds of its speed. Results do not change. Elsewhere than with glibc nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)

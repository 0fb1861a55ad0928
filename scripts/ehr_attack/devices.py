"""Choosing the device that a job computes on, and making torch deterministic on it."""

import ctypes
import logging
import os
import platform

import torch

from ehr_attack.errors import UserError

_log = logging.getLogger(__name__)

# Of <malloc.h>; the second is also the largest block that is to come from freed memory, bytes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def choose_device(wanted: str, key: str) -> torch.device:
    """The torch device for `wanted` (auto, cpu, cuda or mps); says in the log which one was taken.

    `key` is the config key that asked, for messages. Raises UserError when the device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        wanted = next(name for name, there in available.items() if there)
    if not available[wanted]:
        raise UserError(
            f"{key}: {wanted} was asked for, but this machine offers torch {torch.__version__} no {wanted} device. "
            f"Set {key} to auto or cpu, or run on a machine (and with a torch build) that has one."
        )
    name = torch.cuda.get_device_name() if wanted == "cuda" else wanted
    _log.info("device: %s (%d thread(s) on the CPU)", name, torch.get_num_threads())
    return torch.device(wanted)


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

"""Choosing the device that a job computes on, and making torch deterministic on it."""

import logging
import os

import torch

from ehr_attack.errors import UserError

_log = logging.getLogger(__name__)


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
    torch.manual_seed(seed)

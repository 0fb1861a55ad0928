"""What this machine has to offer: cores, memory, disk."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True)
class Machine:
    """cores: that a run may use; memory_bytes: available now (None: unknown); disk_bytes: free; load: busy cores."""

    cores: int
    memory_bytes: int | None
    disk_bytes: int
    load: float


def this_machine(folder: Path, cores: int | None) -> Machine:
    """The machine as it is now; disk space is that of `folder`, which need not exist. `cores` None: all there are."""
    there = next(path for path in [folder, *folder.parents] if path.exists())
    return Machine(
        cores=cores if cores is not None else usable_cores(),
        memory_bytes=_available_memory(),
        disk_bytes=shutil.disk_usage(there).free,
        load=os.getloadavg()[0],
    )


def usable_cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _available_memory() -> int | None:
    """Bytes that new processes may take, within the limit of a container; None where the system does not say."""
    if not _MEMINFO.exists():
        return None
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    if _CGROUP_LIMIT.exists() and (limit := _CGROUP_LIMIT.read_text(encoding="ascii").strip()).isdigit():
        used = int(_CGROUP_USED.read_text(encoding="ascii")) if _CGROUP_USED.exists() else 0
        available = min(available, max(int(limit) - used, 0))
    return available

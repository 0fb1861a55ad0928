"""What may happen to a run underneath: its processes are killed, the disk is full, a file cannot be read.

Each strikes a running snakemake at a random moment (of a seeded generator) and is over when it returns, so that the
documented recovery, `snakemake --unlock` and then `snakemake` again, is all that is left to do.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOM_KB, _TIGHT_KB = 4_000_000, 24
_FAILS_WITHIN_SECONDS = 120
# Permissions mean nothing to root: it is run without the two capabilities that pass them by.
_OBEYING = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


@dataclass(frozen=True)
class Disturbed:
    """A project in a folder of the file system of its own that is mounted at `disk`, and where its results go."""

    disk: Path
    folder: Path
    results: Path

    @property
    def log_file(self) -> Path:
        """Beside the file system: when that is full there is no room on it."""
        return self.disk.with_name("run.log")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Snakemake at work, in a process group of its own; what it prints goes to `run.log`."""
        obeying = _OBEYING if os.geteuid() == 0 else ()
        command = [*obeying, sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def recover(self) -> subprocess.Popen[bytes]:
        """The documented recovery: unlock, and run again."""
        unlocked = self.start("--unlock")
        assert unlocked.wait(timeout=120) == 0, self.log()[-2000:]
        return self.start()

    def log(self) -> str:
        """All that was printed so far."""
        return self.log_file.read_text(errors="replace")

    def files(self) -> dict[str, bytes]:
        """The results by name, without logs and what is hidden."""
        return result_files(self.results)


def result_files(results: Path) -> dict[str, bytes]:
    """Every result below a folder: what is no log and no benchmark of a job, and has no hidden name."""
    files = sorted(path for path in results.rglob("*") if path.is_file())
    named = {path.relative_to(results).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if not name.startswith(("logs/", "benchmarks/")) and "/." not in name
    }


@contextmanager
def own_file_system(folder: Path) -> Iterator[bool]:
    """Mount a file system in memory at `folder`; yields whether that was possible (it takes root)."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM_KB}k", "tmpfs", str(folder)]
    mounted = bool(shutil.which("mount")) and not subprocess.run(command, capture_output=True, check=False).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def kill_snakemake(run: subprocess.Popen[bytes], _: Disturbed, __: random.Random) -> None:
    """Its jobs go on by themselves, for a while beside those of the next run."""
    run.kill()
    run.wait()


def kill_worker(run: subprocess.Popen[bytes], _: Disturbed, chance: random.Random) -> None:
    """One job, or the process that runs it."""
    below = _descendants(run.pid)
    if below:
        _kill(chance.choice(below))
    _wait(run)


def kill_everything(run: subprocess.Popen[bytes], _: Disturbed, __: random.Random) -> None:
    """The whole process group at once, as a closed session or a power cut does."""
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def fill_disk(run: subprocess.Popen[bytes], disturbed: Disturbed, _: random.Random) -> None:
    """Next to no room is left until snakemake has given up."""
    used_kb = shutil.disk_usage(disturbed.disk).used // 1024
    with _remounted(disturbed.disk, used_kb + _TIGHT_KB):
        _wait(run)


def hide_file(run: subprocess.Popen[bytes], disturbed: Disturbed, chance: random.Random) -> None:
    """A result that is there may not be read until snakemake has given up or done without it."""
    there = [path for path in sorted(disturbed.results.rglob("*")) if path.is_file() and path.suffix != ".log"]
    if not there:
        return kill_everything(run, disturbed, chance)
    hidden = chance.choice(there)
    mode = hidden.stat().st_mode
    hidden.chmod(0)
    try:
        _wait(run)
    finally:
        if hidden.exists():
            hidden.chmod(mode)
    return None


Strike = Callable[[subprocess.Popen[bytes], Disturbed, random.Random], None]
STRIKES: dict[str, Strike] = {
    function.__name__: function for function in (kill_snakemake, kill_worker, kill_everything, fill_disk, hide_file)
}


def disturb(disturbed: Disturbed, strikes: list[str], seed: int, whole_run_seconds: float) -> list[str]:
    """Run to the end through all `strikes`, one after the other; returns what struck when, in words.

    A run that ends before its strike was undisturbed: the next one begins from nothing.
    """
    chance, told = random.Random(seed), []
    run = disturbed.start()
    for name in strikes:
        delay = chance.uniform(1.0, whole_run_seconds)
        try:
            status = run.wait(timeout=delay)
            assert status == 0, f"after {told}: {disturbed.log()[-2000:]}"
            told.append(f"nothing in {delay:.1f} s")
            # Not --forceall: of a forced run that is killed, only what the last results lack is made again.
            shutil.rmtree(disturbed.results)
            run = disturbed.start()
            time.sleep(chance.uniform(1.0, delay / 2))
        except subprocess.TimeoutExpired:
            pass
        STRIKES[name](run, disturbed, chance)
        told.append(f"{name} after {delay:.1f} s, exit {run.returncode}")
        run = disturbed.recover()
    status = run.wait(timeout=600)
    assert status == 0, f"after {told}: {disturbed.log()[-3000:]}"
    return told


def _wait(run: subprocess.Popen[bytes]) -> None:
    try:
        run.wait(timeout=_FAILS_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        raise


@contextmanager
def _remounted(folder: Path, kilobytes: int) -> Iterator[None]:
    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True, capture_output=True)

    resize(kilobytes)
    try:
        yield
    finally:
        resize(_ROOM_KB)


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = sorted(children.get(waiting.pop(), []))
        found += below
        waiting += below
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

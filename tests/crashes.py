"""What may happen to a run underneath: its processes are killed, the disk is full, a file cannot be read.

Each strikes a running snakemake at a random moment (of a seeded generator, between nothing and half of what a whole run
takes here) and is over when it returns, so that the documented recovery, `snakemake --unlock` and then `snakemake`
again, is all that is left to do.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.lineage.verifying import verify

_ROOM_KB, _TIGHT_KB = 4_000_000, 24
_TEMPORARY = re.compile(r"^\.|\.tmp$|^tmp")
# Permissions mean nothing to root: it is run without the two capabilities that pass them by.
_OBEYING = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


@dataclass(frozen=True)
class Disturbed:
    """A project in a folder of the file system of its own that is mounted at `disk`, and where its results go.

    seconds: what a whole run took, undisturbed, on this machine; arguments: of every call of snakemake; sources: a
    folder of tables that the run reads from outside of its results, if any.
    """

    disk: Path
    folder: Path
    results: Path
    seconds: float
    arguments: tuple[str, ...] = ()
    sources: Path | None = None

    @property
    def patience(self) -> float:
        """Seconds until a run that has not ended is taken for one that never will."""
        return 120 + 10 * self.seconds

    @property
    def log_file(self) -> Path:
        """Beside the file system: when that is full there is no room on it."""
        return self.disk.with_name("run.log")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Snakemake at work, in a process group of its own; what it prints goes to `run.log`."""
        obeying = _OBEYING if os.geteuid() == 0 else ()
        command = [*obeying, sys.executable, "-m", "snakemake", "--cores", "2", *self.arguments, *arguments]
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
        assert unlocked.wait(timeout=self.patience) == 0, self.log()[-2000:]
        return self.start()

    def log(self) -> str:
        """All that was printed so far."""
        return self.log_file.read_text(errors="replace")

    def leftovers(self) -> list[str]:
        """Locks, marks of unfinished jobs, and hidden or temporary files among the results."""
        found = [path for path in self.results.rglob("*") if _TEMPORARY.search(path.name)]
        for folder in ("locks", "incomplete"):
            found += [path for path in (self.folder / ".snakemake" / folder).rglob("*") if path.is_file()]
        return [path.relative_to(self.folder).as_posix() for path in sorted(found)]


def result_files(results: Path) -> dict[str, bytes]:
    """Every file below a folder of results, by name; without logs and benchmarks, which tell times."""
    files = {path.relative_to(results): path for path in sorted(results.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in files.items()
        if name.parts[0] not in ("logs", "benchmarks")
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
    """Its jobs are left to themselves."""
    run.kill()
    run.wait()


def kill_worker(run: subprocess.Popen[bytes], disturbed: Disturbed, chance: random.Random) -> None:
    """One job, or the process that runs it."""
    below = descendants(run.pid)
    if below:
        _kill(chance.choice(below))
    _wait(run, disturbed)


def kill_everything(run: subprocess.Popen[bytes], _: Disturbed, __: random.Random) -> None:
    """The whole process group at once, as a closed session or a power cut does."""
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def fill_disk(run: subprocess.Popen[bytes], disturbed: Disturbed, _: random.Random) -> None:
    """Next to no room is left until snakemake has given up."""
    used_kb = shutil.disk_usage(disturbed.disk).used // 1024
    with _remounted(disturbed.disk, used_kb + _TIGHT_KB):
        _wait(run, disturbed)


def hide_file(run: subprocess.Popen[bytes], disturbed: Disturbed, chance: random.Random) -> None:
    """A table of the source, or a result, may not be read until snakemake has given up or done without it."""
    folders = [folder for folder in (disturbed.sources, disturbed.results) if folder is not None]
    there = [path for path in sorted(chance.choice(folders).rglob("*")) if path.is_file() and path.suffix != ".log"]
    if not there:
        return kill_everything(run, disturbed, chance)
    hidden = chance.choice(there)
    mode = hidden.stat().st_mode
    hidden.chmod(0)
    try:
        _wait(run, disturbed)
    finally:
        if hidden.exists():
            hidden.chmod(mode)
    return None


Strike = Callable[[subprocess.Popen[bytes], Disturbed, random.Random], None]
STRIKES: dict[str, Strike] = {
    function.__name__: function for function in (kill_snakemake, kill_worker, kill_everything, fill_disk, hide_file)
}


def disturb(disturbed: Disturbed, seed: int) -> list[str]:
    """Run to the end through all STRIKES, one after the other in random order; returns what struck when, in words.

    A run that ends before its strike was undisturbed: the next one begins from nothing.
    """
    chance, told = random.Random(seed), []
    run = disturbed.start()
    for name in chance.sample(list(STRIKES), len(STRIKES)):
        delay = chance.uniform(0.02, 0.5) * disturbed.seconds
        sooner = chance.uniform(0.02, 0.25) * disturbed.seconds
        try:
            status = run.wait(timeout=delay)
            assert status == 0, f"after {told}: {disturbed.log()[-3000:]}"
            told.append(f"nothing in {delay:.1f} s")
            # Not --forceall: of a forced run that is killed, only what the last results lack is made again.
            shutil.rmtree(disturbed.results)
            run = disturbed.start()
            time.sleep(sooner)
        except subprocess.TimeoutExpired:
            pass
        STRIKES[name](run, disturbed, chance)
        told.append(f"{name} after {delay:.1f} s, exit {run.returncode}")
        run = disturbed.recover()
    status = run.wait(timeout=disturbed.patience)
    assert status == 0, f"after {told}: {disturbed.log()[-3000:]}"
    return told


def assert_nothing_is_amiss(disturbed: Disturbed, undisturbed: Path, told: list[str]) -> None:
    """The results are those of an undisturbed run to the byte, and nothing else is left.

    undisturbed: its results; told: what `disturb` returned.
    """
    expected, found = result_files(undisturbed), result_files(disturbed.results)
    assert disturbed.leftovers() == [], told
    assert found.keys() == expected.keys(), told
    assert [name for name in expected if found[name] != expected[name]] == [], told
    assert verify(disturbed.results, disturbed.folder) == [], told
    assert "Traceback" not in disturbed.log(), told


def _wait(run: subprocess.Popen[bytes], disturbed: Disturbed) -> None:
    try:
        run.wait(timeout=disturbed.patience)
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


def descendants(pid: int) -> list[int]:
    """The processes below one."""
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

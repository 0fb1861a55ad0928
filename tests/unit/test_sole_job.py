"""Real processes that work at one run at once: turns, records of many jobs, and jobs that outlive their run."""

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ehr_attack.errors import UserError
from ehr_attack.lineage.records import read_records
from ehr_attack.lineage.starter import be_starter, starter_is_gone
from ehr_attack.lineage.turns import turn
from ehr_attack.storage import clear_scratch

COUNT = """
import sys
from pathlib import Path
from ehr_attack.lineage.turns import turn

counter = Path(sys.argv[1])
for _ in range(25):
    with turn(counter.with_name(".lock")):
        counter.write_text(str(int(counter.read_text()) + 1))
"""

RECORD = """
import sys
from pathlib import Path
from types import SimpleNamespace
from ehr_attack.lineage.records import write_record

class Named(list):
    def items(self):
        return ()

run, worker = Path(sys.argv[1]), sys.argv[2]
for job in range(4):
    output = run / "models" / f"{worker}_{job}.txt"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(worker)
    write_record(SimpleNamespace(rule="train", log=[str(run / "logs" / f"{worker}_{job}.log")], input=Named(),
                                 output=Named([str(output)]), params=Named(), wildcards=Named()))
"""

JOB = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from ehr_attack.runtime import job
from ehr_attack.storage import atomic_path

class Named(list):
    def items(self):
        return ()

run, text, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
output = run / "models" / "model.txt"
task = SimpleNamespace(rule="train", log=[str(run / "logs" / "train.log")], input=Named(), output=Named([str(output)]),
                       params=Named(), wildcards=Named())
with job(task), atomic_path(output) as temporary:
    temporary.write_text(text)
    time.sleep(seconds)
"""

# No file system without locks is at hand where this runs: the system's answer on one, before any other code.
WITHOUT_LOCKS = """
import errno, fcntl
def refuse(*_): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
"""

# With a shell in between, which goes on when the starter is killed.
STARTER_BY_A_SHELL = """
import subprocess, sys
from ehr_attack.lineage.starter import be_starter
be_starter()
subprocess.Popen(["sh", "-c", '"$@" & echo $!; wait', "sh", *sys.argv[1:]])
sys.stdin.read()
"""

STARTER = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"


TOLD, SYSTEM_FLOCK = "EHR_ATTACK_STARTER", fcntl.flock


def start(program: str, *arguments: object, told: str | None = None, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | ({} if told is None else {TOLD: told})
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], env=environment, **options)


def wait_until(happened) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_processes_that_take_turns_lose_no_count(tmp_path):
    (tmp_path / "counter").write_text("0")
    counting = [start(COUNT, tmp_path / "counter") for _ in range(6)]
    assert [process.wait(timeout=300) for process in counting] == [0] * 6
    assert (tmp_path / "counter").read_text() == "150"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("_", range(3))
def test_jobs_that_end_at_once_all_stand_in_the_record_of_their_folder(tmp_path, _):
    working = [start(RECORD, tmp_path, worker) for worker in range(8)]
    assert [process.wait(timeout=300) for process in working] == [0] * 8
    told = json.loads((tmp_path / "models/provenance.json").read_text())["jobs"]
    assert set(told) == {f"{worker}_{job}" for worker in range(8) for job in range(4)}
    assert told == read_records(tmp_path)
    assert hidden(tmp_path) == []


def test_a_job_gives_way_to_the_same_job_of_a_later_run(tmp_path):
    older = start(JOB, tmp_path, "of an older config", 600, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list((tmp_path / "models").glob(".model.txt.*/model.txt")))
    later = start(JOB, tmp_path, "right", 0)
    assert later.wait(timeout=300) == 0
    assert older.wait(timeout=60) == 1
    assert "another run has begun this job anew" in older.communicate()[1]
    assert (tmp_path / "models/model.txt").read_text() == "right"
    assert hidden(tmp_path) == [], "what the older job left is cleared away"
    assert "waiting for it to give way" in (tmp_path / "logs/train.log").read_text()


def test_a_job_ends_with_the_process_that_started_it(tmp_path):
    command = [sys.executable, "-c", JOB, tmp_path, "nobody waits for it", 600]
    starter = start(STARTER, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pid = int(starter.stdout.readline())
    wait_until(lambda: list((tmp_path / "models").glob(".model.txt.*/model.txt")))
    assert is_alive(pid)
    starter.kill()
    starter.wait()
    wait_until(lambda: not is_alive(pid))
    assert not (tmp_path / "models/model.txt").exists()


def test_a_job_ends_with_its_snakemake_though_a_shell_between_goes_on(tmp_path):
    command = [sys.executable, "-c", JOB, tmp_path, "nobody waits for it", 600]
    starter = start(STARTER_BY_A_SHELL, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(starter.stdout.readline())
    wait_until(lambda: list((tmp_path / "models").glob(".model.txt.*/model.txt")))
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    starter.kill()
    starter.wait()
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: not is_alive(parent))
    assert not (tmp_path / "models/model.txt").exists()


def test_a_job_that_begins_after_its_snakemake_has_ended_does_nothing(tmp_path):
    program = "import os; from ehr_attack.lineage.starter import be_starter; be_starter(); print(os.environ['{}'])"
    ended = start(program.format(TOLD), stdout=subprocess.PIPE, text=True)
    told = ended.communicate()[0].rstrip("\n")
    late = start(JOB, tmp_path, "of a run that is gone", 0, stderr=subprocess.PIPE, text=True, told=told)
    assert "the process that started this job is gone" in late.communicate(timeout=300)[1]
    assert late.returncode == 1
    assert not (tmp_path / "models/model.txt").exists()


def test_a_number_means_a_process_of_this_machine_that_began_then(monkeypatch):
    monkeypatch.delenv(TOLD, raising=False)
    assert not starter_is_gone(), "nobody was told"
    monkeypatch.setenv(TOLD, "")
    be_starter()
    assert not starter_is_gone()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert not starter_is_gone(), "that no more files can be opened tells nothing"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    pid, begun, place = os.environ[TOLD].split(" ", 2)
    monkeypatch.setenv(TOLD, f"{pid} {int(begun) - 1} {place}")
    assert starter_is_gone(), "the number was given to a later process"
    monkeypatch.setenv(TOLD, f"{pid} {int(begun) - 1} another-{place}")
    assert not starter_is_gone(), "what runs on another machine cannot be seen from here"


def test_without_locks_jobs_that_end_at_once_crash_none_and_lose_no_record(tmp_path):
    working = [start(WITHOUT_LOCKS + RECORD, tmp_path, worker) for worker in range(8)]
    assert [process.wait(timeout=300) for process in working] == [0] * 8
    told = json.loads((tmp_path / "models/provenance.json").read_text())["jobs"]
    assert set(told) == {f"{worker}_{job}" for worker in range(8) for job in range(4)}
    assert told == read_records(tmp_path)


def test_without_locks_a_job_asks_an_older_one_to_end_and_leaves_its_files_alone(tmp_path):
    older = start(WITHOUT_LOCKS + JOB, tmp_path, "of an older config", 600, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list((tmp_path / "models").glob(".model.txt.*/model.txt")))
    (half_written,) = (tmp_path / "models").glob(".model.txt.*/model.txt")
    assert start(WITHOUT_LOCKS + JOB, tmp_path, "right", 0).wait(timeout=300) == 0
    assert older.wait(timeout=60) == 1
    assert "another run has begun this job anew" in older.communicate()[1]
    assert half_written.exists()
    assert (tmp_path / "models/model.txt").read_text() == "right"


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_only_some_answers_mean_that_there_are_no_locks(tmp_path, monkeypatch, answer):
    monkeypatch.setattr(fcntl, "flock", refusing(answer))
    with turn(tmp_path / ".lock") as mine:
        assert not mine.locked
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), turn(tmp_path / ".lock"):
        pass
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ESTALE, times=2))
    with turn(tmp_path / ".lock") as mine:
        assert mine.locked


def refusing(answer: int, times: int = 1000):
    """The system's flock after so many refusals."""
    left = iter(range(times))

    def flock(*arguments):
        if next(left, None) is None:
            return SYSTEM_FLOCK(*arguments)
        raise OSError(answer, os.strerror(answer))

    return flock


def test_a_lock_is_for_all_whom_the_umask_lets_write(tmp_path):
    before = os.umask(0o002)
    try:
        with turn(tmp_path / ".lock"):
            assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


def test_a_lock_of_another_user_ends_in_one_message():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        lock = Path(folder, ".train.log.lock")
        lock.touch(0o000)
        child = os.fork()
        if child == 0:
            # Root may open anything.
            if os.getuid() == 0:
                os.setuid(65534)
            try:
                with turn(lock):
                    os._exit(1)
            except UserError as error:
                os._exit(0 if f"{lock}: cannot be opened (Permission denied)" in str(error) else 2)
            finally:
                os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_a_killed_job_left_goes_with_its_next_start_and_nothing_else_does(tmp_path):
    killed = start(JOB, tmp_path, "half", 600, stderr=subprocess.DEVNULL)
    wait_until(lambda: list((tmp_path / "models").glob(".model.txt.*/model.txt")))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(hidden(tmp_path)) == 2, "the lock, which nobody holds, and the half-written file"
    kept = [tmp_path / "models" / name for name in (".resume", ".model.txt.of_another", ".model.json.abcdefgh")]
    for folder in kept:
        folder.mkdir()
    assert start(JOB, tmp_path, "whole", 0).wait(timeout=300) == 0
    assert sorted(hidden(tmp_path)) == sorted(kept)
    clear_scratch([tmp_path / "models/model.json"])
    assert sorted(hidden(tmp_path)) == sorted(kept[:2])

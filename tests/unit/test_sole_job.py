"""Real processes that work at one run at once: turns, records of many jobs, and jobs that outlive their run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ehr_attack.lineage.records import read_records
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

STARTER = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"


def start(program: str, *arguments: object, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
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

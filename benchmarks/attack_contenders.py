"""The contenders of the attack's benchmark, and how they are run: each in processes of its own, one after the other."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import numpy as np

from benchmarks.attack_files import READY, WAITING, Clock, Outcome, load_outcome
from benchmarks.publishing import FOLDER

PUBLISHED, ENGINE, TOOL = "published", "engine", "tool"
PATHS = ("fused", "manual", "autograd")
SAME_UPDATE = "sun2018"
OTHER_MODES = ("ista", "ead", "fmn_l1", "sigma_zero")
_SEARCHES = 9
"""Weights of the loss that ART and foolbox try by default."""


@dataclass(frozen=True)
class Contender:
    """Who attacks. commands: one a process, each followed by the problem's folder and the file of the results.

    threads: of one process, or processes of one thread each; same_update: its flags are those of the published update;
    sample: what was attacked where not everything was, in words.
    """

    key: str
    label: str
    kind: str
    threads: int
    commands: tuple[tuple[str, ...], ...]
    options: tuple[str, ...] = ()
    pruned: bool = False
    same_update: bool = False
    sample: str = ""


def contenders(tools: Path | None, sample: int) -> list[Contender]:
    """All of them; those of other tools only with `tools`, the Python of their environment."""
    return [*published(sample), *engines(), *(other_tools(tools) if tools else [])]


def published(sample: int) -> list[Contender]:
    """The published algorithm: every row with one thread, `sample` rows at random with two."""
    command = (sys.executable, "-m", "benchmarks.published_attack")
    label = "published algorithm, one stay and one lambda at a time"
    return [
        Contender("published_1", label, PUBLISHED, 1, (command,), ("--threads", "1"), same_update=True),
        Contender(
            "published_2", label, PUBLISHED, 2, (command,), ("--threads", "2", "--rows", str(sample)),
            sample=f"{sample} rows at random",
        ),
    ]  # fmt: skip


def engines() -> list[Contender]:
    """Ours in the published update by every path, with and without pruning; and in the other modes by the fastest."""
    entrants = []
    for path in PATHS:
        for pruned in (False, True):
            for processes in (1, 2):
                options = ("--path", path, *(["--prune"] if pruned else []))
                suffix = "pruned" if pruned else "exact"
                label = f"{path}, {'pruned over lambda' if pruned else 'every row'}"
                entrants.append(_engine(SAME_UPDATE, f"{path}_{suffix}_{processes}", label, processes, options, pruned))
    return [*entrants, *(_engine(mode, mode, f"mode {mode}", 2, ()) for mode in OTHER_MODES)]


def _engine(
    mode: str, key: str, label: str, processes: int, options: tuple[str, ...], pruned: bool = False
) -> Contender:
    command = (sys.executable, "-m", "benchmarks.engine_runs", mode)
    commands = tuple((*command, "--shard", f"{shard}/{processes}") for shard in range(processes))
    return Contender(key, label, ENGINE, processes, commands, options, pruned, same_update=mode == SAME_UPDATE)


def other_tools(python: Path) -> list[Contender]:
    """ART and foolbox: on one thread with their own searches, on two a single search, for its time."""
    labels = {
        "art_elastic_net": "ART ElasticNet, batches of 256",
        "foolbox_ead": "foolbox EADAttack, one batch",
        "foolbox_fmn_l1": "foolbox L1FMNAttack, one batch",
        "foolbox_fmn_l0": "foolbox L0FMNAttack, one batch",
    }
    command = (str(python), "-m", "benchmarks.other_tools")
    full, once = ("--threads", "1", "--searches", str(_SEARCHES)), ("--threads", "2", "--searches", "1")
    entrants = []
    for name, label in labels.items():
        entrant = Contender(name, label, TOOL, 1, ((*command, name),), full)
        sample = "one weight of the loss" if name in ("art_elastic_net", "foolbox_ead") else ""
        entrants += [entrant, replace(entrant, key=f"{name}_2", threads=2, options=once, sample=sample)]
    slow = "art_one_by_one"
    options = ("--threads", "1", "--searches", "1", "--stays", "8")
    sample = "8 stays, one weight of the loss"
    return [
        *entrants,
        Contender(slow, "ART ElasticNet, one stay at a time", TOOL, 1, ((*command, slow),), options, sample=sample),
    ]


def run_all(entrants: Sequence[Contender], problem: Path) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Run one after the other; their outcomes, and what those that could not be run said.

    What each process found is kept in the folder `outcomes` beside the problem's files.
    """
    outcomes, failures = {}, {}
    folder = problem / "outcomes"
    folder.mkdir(exist_ok=True)
    for number, entrant in enumerate(entrants, start=1):
        print(f"{number} of {len(entrants)}: {entrant.label}, {entrant.threads} thread(s)", flush=True)
        try:
            outcomes[entrant.key] = joined(_run(entrant, problem, folder))
        except ProcessError as error:
            print(f"could not be run: {error}", flush=True)
            failures[entrant.key] = str(error)
    return outcomes, failures


class ProcessError(Exception):
    """A contender's process failed; the last line of what it said."""


def _run(entrant: Contender, problem: Path, folder: Path) -> list[Outcome]:
    """Start all processes of a contender, let them begin together once all are warm, and read what they found."""
    files = [folder / f"{entrant.key}_{index}.npz" for index in range(len(entrant.commands))]
    threads = entrant.threads if len(entrant.commands) == 1 else 1
    started = []
    for command, file in zip(entrant.commands, files, strict=True):
        try:
            process = subprocess.Popen(
                [*command, *entrant.options, str(problem), str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=FOLDER.parent,
                env=_environment(threads),
            )
        except OSError as error:
            raise ProcessError(f"{command[0]}: {error.strerror}") from error
        said: list[str] = []
        listener = Thread(target=_listen, args=(process, said))
        listener.start()
        started.append((process, listener, said))
    for process, _, _ in started:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == READY:
                break
    for process, _, _ in started:
        _release(process)
    for process, listener, said in started:
        code = process.wait()
        listener.join()
        if code:
            raise ProcessError(said[-1] if said else f"exit status {code}")
    return [load_outcome(file) for file in files]


def _listen(process: "subprocess.Popen[str]", said: list[str]) -> None:
    """Pass on what a process says of its progress or its errors, and keep it."""
    assert process.stderr is not None
    for line in process.stderr:
        print(f"  {line.rstrip()}", flush=True)
        said.append(line.strip())


def _release(process: "subprocess.Popen[str]") -> None:
    """Let a waiting process begin; one that has failed already has closed its pipe."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.close()


def _environment(threads: int) -> Mapping[str, str]:
    """As this process's, with the repository and its scripts on the path and a number of threads."""
    path = os.pathsep.join([str(FOLDER.parent), str(FOLDER.parent / "scripts")])
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return os.environ | counts | {"PYTHONPATH": path, WAITING: "1"}


def joined(shards: Sequence[Outcome]) -> Outcome:
    """One outcome out of those of a contender's processes: the clock from the first start to the last end."""
    clock = Clock(
        started=min(shard.clock.started for shard in shards),
        ended=max(shard.clock.ended for shard in shards),
        cpu_seconds=sum(shard.clock.cpu_seconds for shard in shards),
    )
    best = shards[0].best
    for shard in shards[1:]:
        best = np.where(np.isnan(best), shard.best, best)
    notes = dict(shards[0].notes)
    for name in ("pruned", "audited"):
        if name in notes:
            notes[name] = sum(shard.notes[name] for shard in shards)
    rows = ("stay", "position", "steps", "flipped", "margin")
    columns = {name: np.concatenate([getattr(shard, name) for shard in shards]) for name in rows}
    return Outcome(clock, sum(shard.row_steps for shard in shards), best, **columns, notes=notes)

"""The jobs of a run without Snakemake: done by the rules' own scripts, all in one process or a single one.

    python -m benchmarks.one_process PLAN [--records] [--only NUMBER]      in a copy of the project

PLAN comes from `benchmarks.job_plan`. A script is given a stand-in for the object that Snakemake gives it: the same
inputs, outputs and params. Prints the seconds of each job as JSON.
"""

import argparse
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ehr_attack.lineage import records


class Named(list[Any]):
    """Files or settings in order, some of them by name, as Snakemake's own lists."""

    def __init__(self, values: list[Any], names: dict[str, Any]) -> None:
        super().__init__(values)
        self.__dict__.update(names)

    def items(self) -> Any:
        """Names and values of those that have a name."""
        return self.__dict__.items()

    def get(self, name: str) -> Any:
        """The value of this name, None where there is none."""
        return self.__dict__.get(name)

    def __getitem__(self, key: Any) -> Any:
        return self.__dict__[key] if isinstance(key, str) else super().__getitem__(key)


@dataclass
class Task:
    """A job as its script sees it; script: the name of its file."""

    script: str
    rule: str
    threads: int
    input: Named
    output: Named
    params: Named
    wildcards: Named
    log: Named
    resources: Named


def as_data(task: Task) -> dict[str, Any]:
    """The job as JSON holds it."""
    values = {field.name: getattr(task, field.name) for field in fields(task)}
    return {
        name: {"values": list(value), "names": dict(value.items())} if isinstance(value, Named) else value
        for name, value in values.items()
    }


def from_data(data: Mapping[str, Any]) -> Task:
    """The job of `as_data`."""
    return Task(**{name: Named(**value) if isinstance(value, dict) else value for name, value in data.items()})


def run(task: Task, with_record: bool) -> float:
    """Do one job in this process; returns its seconds. Raises SystemExit where it fails."""
    if not with_record:
        records.write_record = lambda job: None
    start = time.perf_counter()
    script = Path("scripts", task.script)
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), {"snakemake": task, "__name__": "__main__"})
    log = logging.getLogger("ehr_attack")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    return time.perf_counter() - start


def main() -> None:
    """Do the planned jobs, or one of them."""
    parser = argparse.ArgumentParser(description="Do the jobs of a run without Snakemake.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--records", action="store_true", help="write provenance as the workflow does")
    parser.add_argument("--only", type=int, help="this job alone, by its place in the plan")
    arguments = parser.parse_args()
    tasks = [from_data(data) for data in json.loads(arguments.plan.read_text(encoding="utf-8"))]
    chosen = tasks if arguments.only is None else [tasks[arguments.only]]
    print(json.dumps({task.log[0]: run(task, arguments.records) for task in chosen}))


if __name__ == "__main__":
    main()

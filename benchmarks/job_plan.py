"""The jobs that Snakemake would run in this folder, written down for `benchmarks.one_process`.

python -m benchmarks.job_plan PLAN [arguments of snakemake]
"""

import json
import sys
from pathlib import Path
from typing import Any

from snakemake import cli
from snakemake.workflow import Workflow

from benchmarks.one_process import Named, Task, as_data

_LISTS = ("input", "output", "params", "wildcards", "log", "resources")


def planned(arguments: list[str]) -> list[Task]:
    """The jobs that `snakemake *arguments` would run here, each behind those that it needs; their folders are made."""
    seen: list[Workflow] = []
    execute = Workflow.execute

    def spied(workflow: Workflow, *given: Any, **named: Any) -> Any:
        seen.append(workflow)
        return execute(workflow, *given, **named)

    Workflow.execute = spied
    try:
        cli.main(["--dry-run", "--quiet", "--cores", "1", *arguments])
    except SystemExit as ended:
        if ended.code:
            raise
    dag = seen[0].dag
    levels = dag.toposorted(set(dag.needrun_jobs(exclude_finished=False)))
    return [_task(job) for level in levels for job in sorted(level, key=str) if job.rule.script]


def _task(job: Any) -> Task:
    lists = {name: _named(getattr(job, name)) for name in _LISTS}
    for file in lists["output"]:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    return Task(script=Path(job.rule.script).name, rule=job.rule.name, threads=job.threads, **lists)


def _named(values: Any) -> Named:
    return Named([_plain(value) for value in values], {name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    """Files as text, lists of them as lists; settings as they are."""
    if isinstance(value, str):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps([as_data(task) for task in planned(sys.argv[2:])]), encoding="utf-8")

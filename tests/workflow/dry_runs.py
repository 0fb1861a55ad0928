"""Many dry runs of Snakemake in little time: a process that has imported it forks for each of them.

A fork runs what the command `snakemake` runs, in the folder of a project and with that project's library, which is
imported anew.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def planned_jobs(output: str) -> dict[str, int]:
    """The rules that a dry run would run, with their number of jobs, from what it printed."""
    if "Nothing to be done" in output:
        return {}
    table = output.split("Job stats:")[1].split("total", maxsplit=1)[0]
    found = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}
    return {name: count for name, count in found.items() if name != "all"}


class DryRuns:
    """The forking process: `with DryRuns() as dry_runs: dry_runs.planned(folder)`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def planned(self, folder: Path, *arguments: str, **environment: str) -> dict[str, int]:
        """The rules that a dry run in `folder` would run, with their number of jobs."""
        return planned_jobs(self.snakemake(folder, "--dry-run", *arguments, **environment))

    def snakemake(self, folder: Path, *arguments: str, **environment: str) -> str:
        """What `snakemake` prints in `folder`; it must succeed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([str(folder), ["--cores", "1", *arguments], environment]), file=self._process.stdin)
        status, output = json.loads(self._process.stdout.readline())
        assert status == 0, output[-4000:]
        return str(output)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def _serve() -> None:
    importlib.import_module("snakemake.cli")
    known = set(sys.modules)
    for line in sys.stdin:
        folder, arguments, environment = json.loads(line)
        with tempfile.TemporaryDirectory() as scratch:
            output, loaded = Path(scratch, "output"), Path(scratch, "loaded")
            child = os.fork()
            if child == 0:
                _snakemake(folder, arguments, environment, output, loaded)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(json.dumps([status, output.read_text(errors="replace")]), flush=True)
            # What a dry run imports besides the project's own is imported once, for the next.
            for name in loaded.read_text().split() if loaded.exists() else ():
                if name not in known:
                    known.add(name)
                    importlib.import_module(name)


def _snakemake(folder: str, arguments: Any, environment: dict[str, str], output: Path, loaded: Path) -> None:
    """What `python -m snakemake` does in a new process; never returns."""
    status: Any = 1
    try:
        target = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.chdir(folder)
        os.environ.update(environment)
        sys.path[0] = folder
        sys.modules["snakemake.cli"].main(arguments)
        status = 0
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
    finally:
        loaded.write_text("\n".join(_outside_modules()))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


def _outside_modules() -> list[str]:
    """The modules of installed packages that are loaded; those of the project are left to each dry run."""
    files = {name: str(vars(module).get("__file__")) for name, module in sys.modules.items() if module is not None}
    return [name for name, file in files.items() if "site-packages" in file and name != "__main__"]


if __name__ == "__main__":
    _serve()

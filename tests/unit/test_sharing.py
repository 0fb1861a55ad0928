"""Work that is shared among processes, when one of them dies: told at once, whatever is on its way to them."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from ehr_attack.errors import UserError
from ehr_attack.screening.sharing import shared

def die(task):
    os._exit(1)

if __name__ == "__main__":
    try:
        list(shared(die, (bytes(20_000_000) for _ in range(6)), 2, 0))
    except UserError as error:
        print(error)
"""


def test_processes_that_die_while_large_tasks_are_sent_to_them_hold_nothing_up(project_dir: Path, tmp_path: Path):
    """Python before 3.11.5, as on Debian 12, waited for ever (CPython issue 94777)."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(project_dir / "scripts")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a process that shared the work was killed, most likely for lack of memory.")

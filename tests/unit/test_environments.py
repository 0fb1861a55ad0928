"""Every rule's script can be imported with what its conda environment holds, the records of jobs included."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ehr_attack.paths import PROJECT_DIR

# The modules of the packages, by the names that the environments call them.
MODULES = {
    "adbc-driver-manager": "adbc_driver_manager",
    "adbc-driver-postgresql": "adbc_driver_postgresql",
    "python-duckdb": "duckdb",
    "python-isal": "isal",
    "jinja2": "jinja2",
    "matplotlib-base": "matplotlib",
    "optuna": "optuna",
    "pillow": "PIL",
    "plotly": "plotly",
    "pyyaml": "yaml",
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "seaborn": "seaborn",
    "torch": "torch",
}
# Not asked for by name, since they come with another.
COME_WITH = {"matplotlib": {"PIL"}, "sklearn": {"scipy"}, "seaborn": {"matplotlib", "scipy"}, "optuna": {"yaml"}}


def present(environment: str) -> set[str]:
    """The modules that an environment holds, of those in MODULES."""
    listed = yaml.safe_load((PROJECT_DIR / "envs" / f"{environment}.yaml").read_text())["dependencies"]
    names = [entry.split()[0] for entry in listed if isinstance(entry, str)]
    names += [entry.split("==")[0] for part in listed if isinstance(part, dict) for entry in part["pip"]]
    modules = {MODULES[name] for name in names if name in MODULES}
    return modules | {module for name in modules for module in COME_WITH.get(name, ())}


def scripts() -> dict[str, set[Path]]:
    """The scripts of all rules, by environment."""
    found: dict[str, set[Path]] = {}
    for file in sorted((PROJECT_DIR / "workflow" / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            environment, script = re.search(r"envs/(\w+)\.yaml", rule), re.search(r"scripts/(\w+\.py)", rule)
            assert environment and script, rule.partition(":")[0]
            found.setdefault(environment[1], set()).add(PROJECT_DIR / "scripts" / script[1])
    return found


@pytest.mark.parametrize("environment", scripts())
def test_a_script_imports_nothing_that_its_environment_lacks(environment: str) -> None:
    lines = [
        line.strip()
        for script in sorted(scripts()[environment])
        for line in script.read_text().splitlines()
        if re.match(r"\s*(from|import) ", line)
    ]
    assert len(lines) > 10
    absent = sorted(set(MODULES.values()) - present(environment))
    program = ["import sys", f"for name in {absent!r}: sys.modules[name] = None", "import ehr_attack.lineage.records"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program + lines)],
        env=os.environ | {"PYTHONPATH": str(PROJECT_DIR / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-800:]

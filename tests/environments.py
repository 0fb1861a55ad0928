"""What the conda environments of envs/ hold, and which rules' scripts run in which."""

import re
from pathlib import Path

import yaml

from ehr_attack.paths import PROJECT_DIR

# Packages by their names in the environments: on the Python index, and as modules.
PACKAGES = {
    "adbc-driver-manager": ("adbc-driver-manager", "adbc_driver_manager"),
    "adbc-driver-postgresql": ("adbc-driver-postgresql", "adbc_driver_postgresql"),
    "jinja2": ("jinja2", "jinja2"),
    "matplotlib-base": ("matplotlib", "matplotlib"),
    "numpy": ("numpy", "numpy"),
    "optuna": ("optuna", "optuna"),
    "pandas": ("pandas", "pandas"),
    "pillow": ("pillow", "PIL"),
    "plotly": ("plotly", "plotly"),
    "pyarrow": ("pyarrow", "pyarrow"),
    "python-duckdb": ("duckdb", "duckdb"),
    "python-isal": ("isal", "isal"),
    "pyyaml": ("pyyaml", "yaml"),
    "safetensors": ("safetensors", "safetensors"),
    "scikit-learn": ("scikit-learn", "sklearn"),
    "scipy": ("scipy", "scipy"),
    "seaborn": ("seaborn", "seaborn"),
    "torch": ("torch", "torch"),
}
# Not asked for by name, since they come with another.
COME_WITH = {"matplotlib": {"PIL"}, "sklearn": {"scipy"}, "seaborn": {"matplotlib", "scipy"}, "optuna": {"yaml"}}
ENVIRONMENTS = sorted(path.stem for path in (PROJECT_DIR / "envs").glob("*.yaml"))


def pins(environment: str) -> dict[str, str]:
    """The version of each package that an environment asks for, `python` and `pip` included."""
    listed = yaml.safe_load((PROJECT_DIR / "envs" / f"{environment}.yaml").read_text())["dependencies"]
    by_conda = [entry for entry in listed if isinstance(entry, str)]
    by_pip = [entry for part in listed if isinstance(part, dict) for entry in part["pip"]]
    pairs = [re.split(r"==| ?=", entry, maxsplit=1) for entry in [*by_conda, *by_pip]]
    return {name.strip(): version.strip() for name, version in pairs}


def absent_modules(environment: str) -> set[str]:
    """The modules that an environment lacks, of those that any environment has."""
    modules = {PACKAGES[name][1] for name in pins(environment) if name in PACKAGES}
    here = modules | {module for name in modules for module in COME_WITH.get(name, ())}
    return {module for _, module in PACKAGES.values()} - here


def scripts() -> dict[str, set[Path]]:
    """The scripts of all rules, by environment."""
    found: dict[str, set[Path]] = {}
    for file in sorted((PROJECT_DIR / "workflow" / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            environment, script = re.search(r"envs/(\w+)\.yaml", rule), re.search(r"scripts/(\w+\.py)", rule)
            assert environment and script, rule.partition(":")[0]
            found.setdefault(environment[1], set()).add(PROJECT_DIR / "scripts" / script[1])
    return found

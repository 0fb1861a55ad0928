"""Every rule says what it runs in, where it logs, what it may use, and what it is doing, in words.

Snakemake itself reads the workflow, and tells what it understood.
"""

import json
import re
import subprocess
import sys

import pytest

from ehr_attack.paths import PACKAGE_DIR, PROJECT_DIR

READ_RULES = """
import json
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, ResourceSettings
with SnakemakeApi(OutputSettings(quiet={"all"})) as api:
    workflow = api.workflow(resource_settings=ResourceSettings(cores=1), snakefile=Path("Snakefile"))._workflow
    rules = [
        {
            "name": rule.name,
            "log": [str(file) for file in rule.log],
            "benchmark": str(rule.benchmark or ""),
            "conda": Path(str(rule.conda_env or "")).name,
            "threads": rule.ruleinfo.threads,
            "resources": sorted(rule.ruleinfo.resources[1]) if rule.ruleinfo.resources else [],
            "message": rule.message or "",
            "wildcards": sorted(rule.wildcard_names),
        }
        for rule in workflow.rules
        if rule.name != "all"
    ]
    print(json.dumps(rules))
"""


@pytest.fixture(scope="module")
def rules() -> list[dict]:
    """All rules but `all`, as Snakemake understands them."""
    done = subprocess.run(
        [sys.executable, "-c", READ_RULES], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    written = [path.read_text() for path in (PROJECT_DIR / "workflow" / "rules").glob("*.smk")]
    assert len(found) == sum(len(re.findall(r"^rule ", text, flags=re.MULTILINE)) for text in written) > 20
    return found


def test_every_rule_has_one_log_and_a_benchmark_of_the_same_name(rules):
    for rule in rules:
        (log,) = rule["log"]
        assert log.startswith("results/synthetic/logs/") and log.endswith(".log"), rule["name"]
        named_alike = log.replace("/logs/", "/benchmarks/").removesuffix(".log") + ".tsv"
        assert rule["benchmark"] == named_alike, rule["name"]


def test_no_two_rules_share_a_log(rules):
    logs = [log for rule in rules for log in rule["log"]]
    assert len(set(logs)) == len(logs)


def test_every_job_has_a_log_of_its_own(rules):
    """The wildcards of a rule's outputs are in the name of its log."""
    for rule in rules:
        named = re.findall(r"\{(\w+)", rule["log"][0])
        assert sorted(named) == rule["wildcards"], rule["name"]


def test_every_rule_asks_for_threads_memory_and_time(rules):
    for rule in rules:
        assert isinstance(rule["threads"], int) and rule["threads"] >= 1, rule["name"]
        assert {"mem_mb", "runtime"} <= set(rule["resources"]), rule["name"]


def test_every_rule_has_an_environment_that_is_there(rules):
    for rule in rules:
        assert (PROJECT_DIR / "envs" / rule["conda"]).is_file() and rule["conda"], rule["name"]


def test_every_rule_says_what_its_job_is_doing(rules):
    """A sentence of its own that tells the jobs of a rule apart: "Training lstm, seed 0, fold 3"."""
    messages = [rule["message"] for rule in rules]
    assert len(set(messages)) == len(messages)
    for rule in rules:
        assert re.match(r"[A-Z][a-z]+ing [^\n]{8,}$", rule["message"]), rule["name"]
        assert sorted(re.findall(r"\{wildcards\.(\w+)\}", rule["message"])) == rule["wildcards"], rule["name"]


def test_reading_the_workflow_imports_nothing_heavy():
    """Each plan, and each job once more, begins with what the Snakefile and the rules import."""
    files = [PROJECT_DIR / "Snakefile", *sorted((PROJECT_DIR / "workflow" / "rules").glob("*.smk"))]
    wanted = r"^from ehr_attack\S* import (?:\([^)]+\)|[^(\n]+)$"
    imports = [found for file in files for found in re.findall(wanted, file.read_text(), flags=re.MULTILINE)]
    assert len(imports) > 10
    used = [
        "from pathlib import Path",
        "validated_config(read_config_file(Path('config.yaml')))",
        "[load_shape(kind) for kind in SOURCES]",
        "names.all_tables(['lstm'], ['ista'])",
        "code_digest(DATA_DIR.parent / 'attacks' / 'fold.py')",
    ]
    heavy = {"duckdb", "matplotlib", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "torch"}
    told = f"import sys; print(sorted({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", "\n".join([*imports, *used, told])]
    environment = {"PYTHONPATH": str(PACKAGE_DIR.parent)}
    done = subprocess.run(command, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")

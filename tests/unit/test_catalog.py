"""What the Snakemake workflow catalog is told of this workflow is in the form it asks for, and true."""

import re

import yaml

from ehr_attack.paths import PROJECT_DIR


def told() -> dict:
    return yaml.safe_load((PROJECT_DIR / ".snakemake-workflow-catalog.yml").read_text())


def test_the_file_holds_what_the_catalog_reads():
    assert set(told()) == {"usage"}
    usage = told()["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"} and isinstance(usage["mandatory-flags"]["flags"], list)
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"}


def test_what_it_says_is_so():
    rules = [path.read_text() for path in (PROJECT_DIR / "workflow" / "rules").glob("*.smk")]
    usage = told()["usage"]
    deployment = usage["software-stack-deployment"]
    every_rule = sum(len(re.findall(r"^rule ", text, flags=re.MULTILINE)) for text in rules)
    assert deployment["conda"] == (sum(text.count("    conda:\n") for text in rules) == every_rule)
    assert deployment["apptainer"] == any("container:" in text for text in rules)
    assert usage["report"] == any("report(" in text for text in rules)


def test_the_catalog_would_find_the_workflow():
    """A README with both words, a Snakefile, and rules that end in .smk."""
    readme = (PROJECT_DIR / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (PROJECT_DIR / "Snakefile").is_file()
    assert list((PROJECT_DIR / "workflow" / "rules").glob("*.smk"))

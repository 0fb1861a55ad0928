"""What README and docs/ refer to is there: files, headings, presets, make targets, commands.

Results that README quotes are those of the committed page.
"""

import re
from pathlib import Path

import pytest

from ehr_attack.cli import COMMANDS

PROJECT = Path(__file__).parents[2]
DOCUMENTS = sorted([PROJECT / "README.md", PROJECT / "benchmarks/README.md", *(PROJECT / "docs").rglob("*.md")])
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_leads_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        file, _, anchor = target.partition("#")
        page = (document.parent / file).resolve() if file else document
        assert page.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in anchors(page), f"{document.name}: {target}"


def test_every_preset_is_told_of_and_there():
    table = README.split("| preset | what it is for |")[1].split("\n\n")[0]
    told = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert told == {file.stem for file in (PROJECT / "workflow/presets").glob("*.yaml")}


def test_every_make_target_that_is_named_is_one():
    targets = set(re.findall(r"^([a-z0-9-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        code = re.findall(r"`[^`\n]+`|^```sh\n.*?^```", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        named = {
            name
            for part in code
            for name in re.findall(r"(?<!install )(?<![\w-])make (?!all\b)([a-z][a-z0-9-]*)", part)
        }
        assert named <= targets, document.name


def test_every_command_that_is_named_is_one():
    for document in DOCUMENTS:
        named = set(re.findall(r"`(?:ehr-attack|[^`\n]*\behr-attack) ([a-z][a-z0-9-]+)", document.read_text("utf-8")))
        assert named <= set(COMMANDS), document.name


def test_results_that_readme_quotes_are_those_of_the_page():
    """Each interval with its effect is in one row of the model that README tells of; each other number is somewhere."""
    page = (PROJECT / "docs/results-physionet2012.md").read_text("utf-8")
    published = (PROJECT / "scripts/ehr_attack/data/published_prediction_metrics.csv").read_text().replace(",", "\n")
    quoted = README.split("## Results on open data")[1].split("### Beside the paper")[0]
    quoted = re.sub(r"\([^)]*\.md\)|`[^`]*`", "", quoted).replace("% ", "")
    rows = [line for line in page.splitlines() if "| lstm |" in line] + variable_rows(page)
    intervals = re.findall(r"[\d.]+,? \([\u2212\d.]+ to [\d.]+\)", quoted)
    assert len(intervals) >= 20
    assert [each for each in intervals if not any(each.replace(",", "") in row for row in rows)] == []
    numbers = re.findall(NUMBER, quoted)
    known = set(re.findall(NUMBER, page + published))
    assert len(numbers) > 80 and [number for number in numbers if number not in known] == []


def variable_rows(page: str) -> list[str]:
    """The ranks of the variables for the LSTM and `ista`."""
    return page.split("### lstm, attack ista")[1].split("###", maxsplit=1)[0].splitlines()


NUMBER = r"(?<![\w.,])\d[\d,.]*\d(?!\w)|(?<![\w.,])\d(?![\w.,])"

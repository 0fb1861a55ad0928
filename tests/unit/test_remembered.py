from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from ehr_attack.errors import UserError
from ehr_attack.remembered import check_remembered

MEMORY, RUN = Path(".snakemake"), Path("results/one")
FEATURES, LONG = "features/features.parquet", f"attacks/{'x' * 210}/outcomes.parquet"


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch) -> None:
    """A run's folder with two results, what their jobs wrote beside them, and a user's own file."""
    monkeypatch.chdir(tmp_path)
    beside = ("provenance/features.json", "logs/features.log", "benchmarks/features.tsv", "notes.txt")
    for file in (FEATURES, LONG, *beside):
        (RUN / file).parent.mkdir(parents=True, exist_ok=True)
        (RUN / file).write_text("{}")


def remember(part: str, path: str) -> None:
    """As Snakemake 9 names its record of a file, in parts where it is long."""
    name = urlsafe_b64encode(path.encode()).decode()
    file = MEMORY / part / (name if len(name) < 255 else f"@{name[:254]}/{name[254:]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")


def is_made(path: str) -> bool:
    return not path.endswith("notes.txt")


@pytest.mark.parametrize("part", ["metadata", "incomplete"])
def test_results_are_trusted_where_snakemake_knows_of_each(part):
    with pytest.raises(
        UserError, match=r"^results/one: holds results, but .snakemake does.*outcomes.parquet and 1 more"
    ):
        check_remembered(RUN, MEMORY, is_made)
    remember(part, f"results/onf/{FEATURES}")
    (MEMORY / part / "migration_underway").touch()
    remember(part, f"{RUN}/{FEATURES}")
    with pytest.raises(UserError, match=r"\(results/one/attacks/x+/outcomes.parquet\)"):
        check_remembered(RUN, MEMORY, is_made)
    remember(part, f"{RUN}/{LONG}")
    check_remembered(RUN, MEMORY, is_made)


def test_what_the_config_does_not_make_is_nobodys_concern():
    check_remembered(RUN, MEMORY, lambda path: False)
    with pytest.raises(UserError, match=r"\(results/one/features/features.parquet\)"):
        check_remembered(RUN, MEMORY, lambda path: path.endswith(FEATURES))


def test_a_new_run_needs_no_records():
    check_remembered(Path("results/two"), MEMORY, is_made)

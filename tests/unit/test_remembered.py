from base64 import urlsafe_b64encode

import pytest

from ehr_attack.errors import UserError
from ehr_attack.remembered import check_remembered


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's folder with the record of one job, as `lineage` writes it."""
    monkeypatch.chdir(tmp_path)
    folder = (tmp_path / "results/one").relative_to(tmp_path)
    (folder / "provenance").mkdir(parents=True)
    (folder / "provenance" / "features.json").write_text("{}")
    return folder


def remember(memory, part, path):
    """As Snakemake 9 names its record of a file, in parts where it is long."""
    name = urlsafe_b64encode(path.encode()).decode()
    file = memory / part / (name if len(name) < 255 else f"@{name[:254]}/{name[254:]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")


@pytest.mark.parametrize("part", ["metadata", "incomplete"])
@pytest.mark.parametrize("file", ["features/features.parquet", "x" * 300])
def test_results_are_trusted_where_snakemake_knows_of_the_run(run, tmp_path, part, file):
    memory = tmp_path / ".snakemake"
    with pytest.raises(UserError, match="results/one: holds results, but"):
        check_remembered(run, memory, ["--dry-run"])
    remember(memory, part, f"results/onf/{file}")
    (memory / part / "migration_underway").touch()
    with pytest.raises(UserError):
        check_remembered(run, memory, [])
    remember(memory, part, f"{run.as_posix()}/{file}")
    check_remembered(run, memory, [])


def test_a_new_run_and_one_that_is_made_anew_need_no_records(run, tmp_path):
    check_remembered(tmp_path / "results" / "two", tmp_path / ".snakemake", [])
    for option in ("--forceall", "-F", "--unlock"):
        check_remembered(run, tmp_path / ".snakemake", ["--cores", "1", option])

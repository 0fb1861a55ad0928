"""Tables of what the attacks achieved, and of how susceptibility compares with the paper."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ehr_attack.attacks import is_baseline
from ehr_attack.headline import headline
from ehr_attack.storage import read_frames, write_csv
from ehr_attack.summaries.claims import claims_table, ranks_table
from ehr_attack.suppression import MINIMUM, blank_small, count_text, rate
from ehr_attack.variables import load_variables

COUNTS = (
    "n_attacked",
    "n_flipped",
    "n_flipped_float64",
    "n_feasible",
    "n_selected",
    "n_failed",
    "n_still_falling",
    "n_vanished",
    "n_stuck",
    "rows",
    "rows_flipped",
    "rows_lost_float64",
    "rows_lost_feasible",
    "rows_pruned",
    "rows_audited",
    "rows_audited_flipped",
)
_MEDIANS = ["median_lambda", "median_l1", "median_linf", "median_n_changed", "median_n_edited", "median_share_observed"]


def write_attack_tables(
    *,
    summaries: Sequence[str | Path],
    variables: Sequence[str | Path],
    hours: Sequence[str | Path],
    profile: str,
    kind: str = "mimic3",
    out_dir: str | Path,
) -> None:
    """Write `attack_summary.csv`, `rank_comparison.csv` and `paper_claims.csv` into `out_dir`.

    summaries, variables, hours: the ATTACK_SUMMARY, VARIABLES and HOURS tables of every model and mode;
    profile, kind: the variable profile and the kind of source. Raises UserError for an unreadable file or an unknown
    profile.
    """
    summary = read_frames(summaries)
    by_variable, by_hour = headline(read_frames(variables)), headline(read_frames(hours))
    mapped = summary[~summary["mode"].map(is_baseline)]
    claims = claims_table(mapped, by_variable, by_hour, load_variables(profile, kind), profile)
    write_csv(summary_table(summary), Path(out_dir) / "attack_summary.csv")
    write_csv(ranks_table(by_variable, profile), Path(out_dir) / "rank_comparison.csv")
    write_csv(claims, Path(out_dir) / "paper_claims.csv")


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a model, mode and direction: counts (text), success_percent, medians.

    summary: ATTACK_SUMMARY rows. A stay succeeds when one of its attacks was selected. Medians over fewer
    than ten stays are null. How many attacks failed tells of the attack, not of the patients, so only counts
    are hidden here, not what they leave over.
    """
    success = [rate(int(n), int(of)) for n, of in zip(summary["n_selected"], summary["n_attacked"], strict=True)]
    counts = pd.DataFrame({name: summary[name].map(count_text) for name in COUNTS}).assign(success_percent=success)
    medians = blank_small(summary, _MEDIANS, summary["n_selected"] >= MINIMUM)[_MEDIANS]
    return pd.concat([summary[["model", "mode", "direction"]], counts, medians], axis=1)

"""Made-up susceptibility tables in the canonical schemas: they hang together, sums and ranks agree across tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ehr_attack.schemas.susceptibility import ALL_CELLS, ALL_LAMBDAS, BASES, FIXED, OBSERVED_CELLS, SELECTED
from ehr_attack.schemas.verdicts import CANNOT_TELL, NOT_SUPPORTED, STABILITY, SUPPORTED, TRANSFER

LAMBDAS = (0.001, 0.005, 0.015)
_MEASURES = ("gmp", "gap", "gpp", "q95", "s", "s_q95")
_POLICY_SCALE = {SELECTED: 1.0, FIXED: 0.9, ALL_LAMBDAS: 1.1}
_SUMS = {"n_rows": "max", "n_stays": "max", "n_patients": "max", "s": "sum", "s_q95": "sum"}
_KEYS = ["model", "mode", "direction", "policy", "basis"]


def patients_of(stays: int) -> int:
    """Some patients have two stays."""
    return stays - stays // 6


def made_up_cells(
    random: np.random.Generator, names: Sequence[str], *, hours: int, stays: int, zero: bool, intervals: bool
) -> pd.DataFrame:
    """CELLS rows of one direction, all policies and bases, without model, mode and direction."""
    weight = random.gamma(0.7, 1.0, len(names)) / 4
    share = (weight[None, :] * np.exp((np.arange(hours)[:, None] - hours) / 9)).clip(0, 0.9)
    changed = random.binomial(stays, share) * (0 if zero else 1)
    size = 0.25 * random.random(share.shape) * (changed > 0)
    gpp = changed / max(stays, 1)
    grid = {"hour": np.repeat(np.arange(hours), len(names)), "variable": np.tile(names, hours)}
    measures = {"gmp": size, "gap": size * gpp / 2, "gpp": gpp, "q95": size * (gpp > 0.05) * 0.7}
    flat = {name: values.ravel() for name, values in measures.items()}
    recorded = random.binomial(stays, np.tile(np.linspace(0.05, 0.9, len(names)), hours))
    parts = []
    for policy, scale in _POLICY_SCALE.items():
        for basis in BASES:
            n_stays = np.full(size.size, stays) if basis == ALL_CELLS else recorded
            frame = pd.DataFrame(
                grid | flat | {"n_rows": n_stays, "n_stays": n_stays, "n_patients": n_stays - n_stays // 6}
            )
            frame["n_changed_patients"] = np.minimum(changed.ravel(), frame["n_patients"])
            frame[["gmp", "gap", "q95"]] *= scale
            frame["s"], frame["s_q95"] = frame["gmp"] * frame["gpp"], frame["q95"] * frame["gpp"]
            frame.loc[frame["n_patients"] < 10, list(_MEASURES)] = np.nan if basis == OBSERVED_CELLS else 0.0
            parts.append(frame.assign(policy=policy, basis=basis))
    return with_intervals(pd.concat(parts, ignore_index=True), _MEASURES, shown=intervals)


def with_intervals(frame: pd.DataFrame, names: Sequence[str], *, shown: bool = True) -> pd.DataFrame:
    """An interval from 0.8 to 1.25 times each value; null below ten patients, or everywhere."""
    keep = (frame["n_patients"] >= 10) & shown
    ends = {
        f"{name}_{end}": (frame[name] * factor).where(keep)
        for name in names
        for end, factor in (("low", 0.8), ("high", 1.25))
    }
    return frame.assign(**ends)


def made_up_sums(cells: pd.DataFrame, axis: str, *, intervals: bool) -> pd.DataFrame:
    """VARIABLES or HOURS rows of CELLS rows."""
    groups = cells.groupby([*_KEYS, axis], sort=False)
    sums = groups.agg(_SUMS).assign(n_cells=groups["s"].count()).reset_index()
    sums = with_intervals(sums, ("s", "s_q95"), shown=intervals)
    ranks = sums.groupby(_KEYS)["s_q95"].rank(ascending=False, method="min").where(sums["s_q95"] > 0).astype("Int64")
    last = sums[axis].nunique()
    return sums.assign(rank=ranks, rank_low=(ranks - 2).clip(lower=1), rank_high=(ranks + 3).clip(upper=last))


def made_up_tradeoff(stays: int, attacked: int) -> pd.DataFrame:
    """TRADEOFF rows of one direction, without model, mode and direction; the middle lambda is selected."""
    rows = []
    for place, weight in enumerate(LAMBDAS):
        row: dict[str, float] = {"lambda": weight, "n_attacked": attacked, "n_succeeded": stays}
        row |= {"n_patients": patients_of(stays), "n_selected": stays if place == 1 else 0}
        for name, middle in (("mp", 0.1 * (place + 1)), ("ap", 0.04 * (place + 1)), ("pp", 0.09 / (place + 1))):
            for quartile, factor in (("q25", 0.7), ("median", 1.0), ("q75", 1.4)):
                row[f"{name}_{quartile}"] = middle * factor if stays else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def made_up_verdicts(models: Sequence[str], mode: str, stays: int) -> pd.DataFrame:
    """VERDICTS rows: one of each word, and one of few patients."""
    trend, slope = "Later hours are more susceptible", "slope above the null's"
    tests = (
        (1, "As good as published", "", "", "held-out AUROC", 0.861, 0.83, 0.89, 0.5, 0.91, NOT_SUPPORTED),
        (2, trend, "0_to_1", "all", slope, 0.8, 0.2, 1.4, 0.0, np.nan,
         SUPPORTED),
        (2, trend, "1_to_0", "observed", slope, 0.1, -0.5, 0.7, 0.0, np.nan,
         CANNOT_TELL),
        (3, "Variables rank as published", "0_to_1", "all", "Kendall's tau", 0.21, -0.1, 0.5, 0.0, np.nan,
         CANNOT_TELL),
    )  # fmt: skip
    columns = [
        "claim",
        "hypothesis",
        "direction",
        "basis",
        "effect",
        "value",
        "low",
        "high",
        "none",
        "published",
        "verdict",
    ]
    frames = [pd.DataFrame(tests, columns=columns).assign(model=model, mode=mode) for model in models]
    table = pd.concat(frames, ignore_index=True)
    counts = {"n_stays": stays, "n_patients": patients_of(stays)}
    table = table.assign(**counts, reason="The interval reaches from a to b, for the data at hand.")
    few = table["direction"] == "1_to_0"
    return table.assign(n_patients=table["n_patients"].mask(few, 6), n_stays=table["n_stays"].mask(few, 7))


def made_up_stability(models: Sequence[str], modes: Sequence[str], folds: int) -> pd.DataFrame:
    """STABILITY rows: every pair of folds, models and attacks, and one pair of few patients."""
    items = {"fold": [f"fold {fold}" for fold in range(folds)], "model": models, "attack": modes}
    rows = [
        (kind, first, second, modes[0], direction, axis, 19, 40, 0.9 - 0.1 * place, 0.7 - 0.1 * place)
        for kind, named in items.items()
        for place, first in enumerate(named)
        for second in named[place + 1 :]
        for direction in ("0_to_1", "1_to_0")
        for axis in ("variable", "hour")
    ]
    rows.append(("seed", "seed 1", "seed 2", modes[0], "1_to_0", "variable", 19, 4, 0.123456, 0.123456))
    return pd.DataFrame(rows, columns=STABILITY.names)


def made_up_transfer(models: Sequence[str], modes: Sequence[str], seed: int) -> pd.DataFrame:
    """TRANSFER rows: every ordered pair of models (or of two seeds of the only one); the direction 1->0 is small."""
    ends = [(model, seed) for model in models] if len(models) > 1 else [(models[0], seed), (models[0], seed + 1)]
    rows = [
        (mode, direction, *first, *second, n, patients_of(n), flipped, flipped / n, 0.3, 0.9)
        for mode in modes
        for direction, n, flipped in (("0_to_1", 50, 30), ("1_to_0", 7, 4))
        for first in ends
        for second in ends
        if first != second
    ]
    return pd.DataFrame(rows, columns=TRANSFER.names)

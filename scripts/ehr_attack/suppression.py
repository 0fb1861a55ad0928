"""Small numbers stay private: counts below ten, and shares and differences that would give one away.

Every table, figure and page for people passes through here. A count of 1 to 9 reads `<10`, a count that
leaves 1 to 9 over reads `all but <10`, and `withheld` marks a number that is large by itself but would reveal
a small one.
"""

from collections.abc import Sequence

import pandas as pd

MINIMUM = 10
SMALL, ALL_BUT_SMALL, WITHHELD = "<10", "all but <10", "withheld"


def is_small(count: float) -> bool:
    """Whether `count` is 1 to 9; zero gives nobody away."""
    return 0 < count < MINIMUM


def count_text(count: int) -> str:
    """A count as it may be printed."""
    return SMALL if is_small(count) else str(count)


def part_text(count: int, total: int) -> str:
    """A count out of a printed total: neither it nor what it leaves over may be small."""
    return ALL_BUT_SMALL if is_small(total - count) and not is_small(count) else count_text(count)


def percent(count: int, total: int) -> float:
    """`count` out of a printed total in per cent; NaN when it, or what it leaves over, is small."""
    if total < MINIMUM or is_small(count) or is_small(total - count):
        return float("nan")
    return 100.0 * count / total


def rate(count: int, total: int) -> float:
    """`count` out of `total` in per cent, where only the count is sensitive; NaN when either is small."""
    return float("nan") if total < MINIMUM or is_small(count) else 100.0 * count / total


def partition_texts(counts: Sequence[int]) -> list[str]:
    """The parts of a printed total.

    When a part is small, the smallest part of at least 2 x 10 (else the largest) is withheld too: from the
    total and the other parts only the sum of the hidden ones follows, and many splits of it are possible.
    """
    texts = [count_text(count) for count in counts]
    large = sorted(count for count in counts if count >= MINIMUM)
    if SMALL in texts and large:
        partner = next((count for count in large if count >= 2 * MINIMUM), large[-1])
        texts[list(counts).index(partner)] = WITHHELD
    return texts


def merge_steps(excluded: Sequence[int]) -> list[list[int]]:
    """Group consecutive steps until each group excludes none or at least ten; returns the groups' indices.

    A small remainder at the end joins the group before it. Only when all steps together exclude 1 to 9 is
    there a group of that size.
    """

    def is_short(steps: list[int]) -> bool:
        return is_small(sum(excluded[step] for step in steps))

    merged: list[list[int]] = []
    for step in (index for index, count in enumerate(excluded) if count):
        if merged and is_short(merged[-1]):
            merged[-1].append(step)
        else:
            merged.append([step])
    if len(merged) > 1 and is_short(merged[-1]):
        remainder = merged.pop()
        merged[-1] += remainder
    groups = [list(range(steps[0], steps[-1] + 1)) for steps in merged]
    inside = {step for group in groups for step in group}
    return sorted([*groups, *([step] for step in range(len(excluded)) if step not in inside)])


def chain_texts(counts: Sequence[int], totals: Sequence[int]) -> list[str]:
    """Counts along a flow that only shrinks, each out of the total of its step; small differences hidden.

    The last count (the cohort) is kept; going back, a count is withheld when it differs by 1 to 9 from the
    next one that is printed.
    """
    texts: list[str] = []
    printed: int | None = None
    for count, total in zip(reversed(counts), reversed(totals), strict=True):
        text = part_text(count, total)
        if printed is not None and is_small(abs(count - printed)):
            text = WITHHELD
        if text == str(count):
            printed = count
        texts.append(text)
    return texts[::-1]


def enough(frame: pd.DataFrame) -> pd.Series:
    """Which rows rest on at least ten stays (`n_stays`) and, where they are counted, ten patients (`n_patients`)."""
    counts = [name for name in ("n_stays", "n_patients") if name in frame]
    return (frame[counts].fillna(0) >= MINIMUM).all(axis=1)


def stays_behind(rows: pd.DataFrame) -> int:
    """The number of stays (`n_stays`) behind rows of one direction; 0 where there are none."""
    return int(rows["n_stays"].max()) if len(rows) else 0


def changed_by_few(cells: pd.DataFrame) -> pd.Series:
    """Which CELLS rows 1 to 9 patients changed (`n_changed_patients`): a largest change or a share would be theirs."""
    return cells["n_changed_patients"].map(is_small).astype(bool)


def summed_over_few(sums: pd.DataFrame, cells: pd.DataFrame, axis: str) -> pd.Series:
    """Which rows of VARIABLES or HOURS (axis `variable`, `hour`) sum over cells of which ten patients changed none.

    cells: the CELLS rows that are summed. Such a sum may be one withheld cell's.
    """
    keys = ["model", "mode", "direction", "policy", "basis", axis]
    most = cells.groupby(keys, observed=True)["n_changed_patients"].max()
    return sums[keys].join(most, on=keys)["n_changed_patients"].fillna(0).map(is_small).astype(bool)


def blank_small(frame: pd.DataFrame, columns: Sequence[str], shown: pd.Series | None = None) -> pd.DataFrame:
    """`frame` with `columns` null wherever not `shown`: unless told, where fewer than ten stays or patients stand."""
    keep = enough(frame) if shown is None else shown
    return frame.assign(**{name: frame[name].where(keep) for name in columns})

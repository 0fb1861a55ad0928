"""Claims 3 and 4: which direction is the more susceptible, which variables are, and whether those of the laboratory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ehr_attack.figures.names import DIRECTIONS
from ehr_attack.published import published_scores
from ehr_attack.schemas import BASES, VARIABLE_AXIS
from ehr_attack.variables import LAB, VITAL, Variable
from ehr_attack.verdicts.question import Question, interval_of
from ehr_attack.verdicts.rule import Bound
from ehr_attack.verdicts.statistics import drawn_names, mean_ratios, part_shares, rank_correlations, top_shares
from ehr_attack.verdicts.sums import Key, Sums, aligned
from ehr_attack.verdicts.words import FLIPS, ON_BASIS

_SHARE, _RATIO = 5.0, 0.1
"""Sizes that would matter: 5 % of S, a tenth more."""
_RANKS = {"Spearman's rho": 0.3, "Kendall's tau": 0.2}
"""Rank correlations that would matter."""
_SEED = 20180820
_NAN = float("nan")


def direction_questions(sums: Mapping[Key, Sums], known: Sequence[Variable], profile: str) -> Iterator[Question]:
    """Claim 3, first part: S summed over cells, and the share of the three top variables, of one direction against the
    other. The draws of both directions are of the same patients, folds and seeds.
    """
    up, down = DIRECTIONS
    paper = [_paper(direction, known, profile) for direction in (up, down)]
    for basis in BASES:
        keys = (up, basis, VARIABLE_AXIS), (down, basis, VARIABLE_AXIS)
        pair = aligned({keys[0]: sums[keys[1]]}, sums, keys[0]) if set(keys) <= set(sums) else None
        if pair is None:
            continue
        shared: dict[str, Any] = {
            "claim": 3,
            "basis": basis,
            "n_stays": min(sums[key].n_stays for key in keys),
            "n_patients": min(sums[key].n_patients for key in keys),
        }
        totals = [np.nansum(part, axis=1) for part in pair]
        ratio = np.divide(totals[0], totals[1], out=np.full(len(totals[0]), np.nan), where=totals[1] > 0)
        yield Question(
            hypothesis="The record is more susceptible for deaths flipped to survival than for survivors to death.",
            effect="S summed over cells, 1 to 0 over 0 to 1, ratio",
            unit=" times",
            statement=f"susceptibility summed over the cells ({ON_BASIS[basis]}) for {FLIPS[down]} is {{}} that for "
            f"{FLIPS[up]}",
            interval=interval_of(ratio),
            bound=Bound(1.0, _RATIO),
            none=1.0,
            published=float(paper[1].sum() / paper[0].sum()) if len(paper[0]) else _NAN,
            **shared,
        )
        yield Question(
            hypothesis="Susceptibility gathers more in the top three variables for deaths flipped to survival.",
            effect="share of S in the three top variables, 1 to 0 less 0 to 1, % of S",
            unit=" %",
            statement=f"the share of the three most susceptible variables ({ON_BASIS[basis]}) for {FLIPS[down]} less "
            f"that for {FLIPS[up]} is {{}}",
            interval=interval_of(top_shares(pair[0]) - top_shares(pair[1])),
            bound=Bound(0.0, _SHARE),
            none=0.0,
            published=_top(paper[1]) - _top(paper[0]),
            **shared,
        )


def rank_questions(sums: Mapping[Key, Sums], profile: str) -> Iterator[Question]:
    """Claim 3, second part: agreement of variable ranks with the published ones, over variables of the same analyte.

    Two rankings of few variables agree by chance too, so every draw takes, besides patients, folds and seeds, the
    variables with replacement.
    """
    for direction, basis, own in _by_variable(sums):
        theirs = published_scores("sun2018", direction, profile)
        places = [place for place, name in enumerate(own.names) if name in theirs and not np.isnan(own.value[place])]
        scores = theirs[[own.names[place] for place in places]].to_numpy(dtype=np.float64)
        ours = own.both[:, places]
        found = rank_correlations(ours, scores, drawn_names(len(ours), len(places), _SEED))
        for (name, relevant), draws in zip(_RANKS.items(), found, strict=True):
            yield Question(
                claim=3,
                hypothesis="Variables rank as in Sun et al. (2018).",
                effect=f"rank correlation with the published scores, {name}, {len(places)} variables",
                unit="",
                statement=f"the ranks of the {len(places)} shared variables ({FLIPS[direction]}, {ON_BASIS[basis]}) "
                f"agree with the published ones by {name} {{}}",
                interval=interval_of(draws),
                bound=Bound(0.0, relevant),
                n_stays=own.n_stays,
                n_patients=own.n_patients,
                direction=direction,
                basis=basis,
                none=0.0,
                published=1.0,
            )


def laboratory_questions(sums: Mapping[Key, Sums], known: Sequence[Variable], profile: str) -> Iterator[Question]:
    """Claim 4: the laboratory's share of S less its share of the variables, and its mean S against that of vital signs.

    Variables that are neither count in neither.
    """
    groups = {variable.name: variable.group for variable in known if variable.group in (LAB, VITAL)}
    for direction, basis, own in _by_variable(sums):
        places = [place for place, name in enumerate(own.names) if name in groups]
        both = own.both[:, places]
        is_lab = np.array([groups[own.names[place]] == LAB for place in places], dtype=bool)
        if not is_lab.any() or is_lab.all():
            continue
        even = 100.0 * float(is_lab.mean())
        paper = _paper(direction, known, profile)
        in_paper = np.array([groups.get(str(name)) == LAB for name in paper.index], dtype=bool)
        shared: dict[str, Any] = {
            "claim": 4,
            "hypothesis": "Laboratory variables dominate vital signs.",
            "direction": direction,
            "basis": basis,
            "n_stays": own.n_stays,
            "n_patients": own.n_patients,
        }
        where = f"({FLIPS[direction]}, {ON_BASIS[basis]})"
        yield Question(
            effect="share of S in laboratory variables less their share of the variables, % of S",
            unit=" %",
            statement=f"the laboratory's share of the susceptibility {where} less its {even:.0f} % of the variables is "
            "{}",
            interval=interval_of(part_shares(both, is_lab) - even),
            bound=Bound(0.0, _SHARE),
            none=0.0,
            published=100.0 * float(paper[in_paper].sum() / paper.sum()) - even if len(paper) else _NAN,
            **shared,
        )
        yield Question(
            effect="mean S of a laboratory variable over that of a vital sign, ratio",
            unit=" times",
            statement=f"the mean susceptibility of a laboratory variable {where} is {{}} that of a vital sign",
            interval=interval_of(mean_ratios(both, is_lab, ~is_lab)),
            bound=Bound(1.0, _RATIO),
            none=1.0,
            published=float(paper[in_paper].mean() / paper[~in_paper].mean()) if len(paper) else _NAN,
            **shared,
        )


def _by_variable(sums: Mapping[Key, Sums]) -> Iterator[tuple[str, str, Sums]]:
    for direction in DIRECTIONS:
        for basis in BASES:
            if (own := sums.get((direction, basis, VARIABLE_AXIS))) is not None:
                yield direction, basis, own


def _paper(direction: str, known: Sequence[Variable], profile: str) -> pd.Series:
    """The published scores, where the run has the very variables of the paper; else none."""
    scores = published_scores("sun2018", direction, profile)
    return scores if {variable.name for variable in known} == set(scores.index) else scores.iloc[:0]


def _top(scores: pd.Series) -> float:
    return float(100.0 * scores.nlargest(3).sum() / scores.sum()) if len(scores) else _NAN

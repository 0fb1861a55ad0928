"""Claims 3 and 4: which direction is the more susceptible, which variables are, and whether those of the laboratory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ehr_attack.directions import DIRECTIONS
from ehr_attack.published import published_scores
from ehr_attack.schemas.susceptibility import BASES, VARIABLE_AXIS
from ehr_attack.variables import LAB, VITAL, Variable
from ehr_attack.verdicts.cell_means import CellMeans, Key, aligned, along
from ehr_attack.verdicts.hindrances import too_few_above_zero, too_little
from ehr_attack.verdicts.question import Question, interval_of
from ehr_attack.verdicts.rule import Bound
from ehr_attack.verdicts.statistics import drawn_names, mean_ratios, part_shares, rank_correlations, top_shares
from ehr_attack.verdicts.words import FLIPS, ON_BASIS

_SHARE, _RATIO = 5.0, 0.1
"""Sizes that would matter: 5 % of S_q95, a tenth more."""
_RANKS = {"Spearman's rho": 0.3, "Kendall's tau": 0.2}
"""Rank correlations that would matter."""
_SEED = 20180820


def direction_questions(means: Mapping[Key, CellMeans]) -> Iterator[Question]:
    """Claim 3, first part: S_q95 per cell, and the three top variables' share, of one direction against the other.

    Over the variables that are measured in both. The draws of both directions are of the same patients, folds and
    seeds. The paper's numbers are of S with the maximum, and are not set beside these.
    """
    up, down = DIRECTIONS
    for basis in BASES:
        of_down, of_up = (means.get((direction, basis, VARIABLE_AXIS)) for direction in (down, up))
        if of_down is None or of_up is None:
            continue
        pair = aligned(of_down, of_up)
        neither = np.isnan(pair[0][0]) | np.isnan(pair[1][0])
        flipped_down, flipped_up = (np.where(neither, np.nan, part) for part in pair)
        groups = {f"variables ({FLIPS[down]})": flipped_down[0], f"variables ({FLIPS[up]})": flipped_up[0]}
        shared: dict[str, Any] = {
            "claim": 3,
            "basis": basis,
            "n_stays": min(of_down.n_stays, of_up.n_stays),
            "n_patients": min(of_down.n_patients, of_up.n_patients),
            "hindrance": too_little(groups) or too_few_above_zero(groups),
        }
        is_down = np.repeat([True, False], len(neither))
        yield Question(
            hypothesis="The record is more susceptible for deaths flipped to survival than for survivors to death.",
            effect="S_q95 of a measured cell, 1 to 0 over 0 to 1, ratio",
            unit=" times",
            statement=f"S_q95 of a measured cell ({ON_BASIS[basis]}) for {FLIPS[down]} is {{}} that for {FLIPS[up]}",
            interval=interval_of(mean_ratios(np.hstack([flipped_down, flipped_up]), is_down, ~is_down)),
            bound=Bound(1.0, _RATIO),
            none=1.0,
            **shared,
        )
        yield Question(
            hypothesis="Susceptibility gathers more in the top three variables for deaths flipped to survival.",
            effect="share of S_q95 in the three top variables, 1 to 0 less 0 to 1, % of S_q95",
            unit=" %",
            statement=f"the share of the three most susceptible variables in S_q95 ({ON_BASIS[basis]}) for "
            f"{FLIPS[down]} less that for {FLIPS[up]} is {{}}",
            interval=interval_of(top_shares(flipped_down) - top_shares(flipped_up)),
            bound=Bound(0.0, _SHARE),
            none=0.0,
            **shared,
        )


def rank_questions(means: Mapping[Key, CellMeans], profile: str) -> Iterator[Question]:
    """Claim 3, second part: agreement of variable ranks with the published ones, over variables of the same analyte.

    Two rankings of few variables agree by chance too, so every draw takes, besides patients, folds and seeds, the
    variables with replacement. Ours are ranks by S_q95, the paper's by S with the maximum: ranks alone are compared.
    """
    for direction, basis, own in along(means, VARIABLE_AXIS):
        theirs = published_scores("sun2018", direction, profile)
        alike = [place for place, name in enumerate(own.names) if name in theirs]
        places = [place for place in alike if not np.isnan(own.value[place])]
        group = {"shared variables": own.value[alike]}
        scores = theirs[[own.names[place] for place in places]].to_numpy(dtype=np.float64)
        ours = own.both[:, places]
        found = rank_correlations(ours, scores, drawn_names(len(ours), len(places), _SEED))
        for (name, relevant), draws in zip(_RANKS.items(), found, strict=True):
            yield Question(
                claim=3,
                hypothesis="Variables rank as in Sun et al. (2018).",
                effect=f"rank correlation of S_q95 with the published S (by the maximum), {name}, "
                f"{len(places)} variables",
                unit="",
                statement=f"the ranks of the {len(places)} shared variables by S_q95 ({FLIPS[direction]}, "
                f"{ON_BASIS[basis]}) agree with the published ones, by S with the maximum, by {name} {{}}",
                interval=interval_of(draws),
                bound=Bound(0.0, relevant),
                n_stays=own.n_stays,
                n_patients=own.n_patients,
                direction=direction,
                basis=basis,
                none=0.0,
                hindrance=too_little(group) or too_few_above_zero(group),
            )


def laboratory_questions(means: Mapping[Key, CellMeans], known: Sequence[Variable]) -> Iterator[Question]:
    """Claim 4: the laboratory's share of S_q95 less its share of the variables; its mean against that of vital signs.

    Variables that are neither count in neither.
    """
    groups = {variable.name: variable.group for variable in known if variable.group in (LAB, VITAL)}
    for direction, basis, own in along(means, VARIABLE_AXIS):
        places = [place for place, name in enumerate(own.names) if name in groups]
        both = own.both[:, places]
        is_lab = np.array([groups[own.names[place]] == LAB for place in places], dtype=bool)
        if not is_lab.any() or is_lab.all():
            continue
        even = 100.0 * float(is_lab.mean())
        of_groups = {"laboratory variables": both[0, is_lab], "vital signs": both[0, ~is_lab]}
        shared: dict[str, Any] = {
            "claim": 4,
            "hypothesis": "Laboratory variables dominate vital signs.",
            "direction": direction,
            "basis": basis,
            "n_stays": own.n_stays,
            "n_patients": own.n_patients,
            "hindrance": too_little(of_groups) or too_few_above_zero({"variables": both[0]}),
        }
        where = f"({FLIPS[direction]}, {ON_BASIS[basis]})"
        yield Question(
            effect="share of S_q95 in laboratory variables less their share of the variables, % of S_q95",
            unit=" %",
            statement=f"the laboratory's share of S_q95 {where} less its {even:.0f} % of the variables is {{}}",
            interval=interval_of(part_shares(both, is_lab) - even),
            bound=Bound(0.0, _SHARE),
            none=0.0,
            **shared,
        )
        yield Question(
            effect="S_q95 of a laboratory cell over that of a vital sign's, ratio",
            unit=" times",
            statement=f"S_q95 of a measured laboratory cell {where} is {{}} that of a vital sign's",
            interval=interval_of(mean_ratios(both, is_lab, ~is_lab)),
            bound=Bound(1.0, _RATIO),
            none=1.0,
            **shared,
        )

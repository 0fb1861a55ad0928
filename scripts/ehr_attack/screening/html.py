"""`screen.html`: the result of a screening as one page for people, made of `screen.json`'s values alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehr_attack import page
from ehr_attack.screening.private_files import write_private

WIDTH, HEIGHT = 640, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 12, 20
_UNITS = {"degC": "°C", "pH": "", "ratio": "", "ug/L": "µg/L", "K/uL": "K/µL"}
_HOURS_A_TICK = 12
_RAREST_SHARE = 0.005

Stay = Mapping[str, Any]


@dataclass(frozen=True)
class Trace:
    """What was recorded of one variable of one stay, drawn: coordinates in CSS pixels, texts for the axes.

    dots: of recorded values; moves: of a changed value, (x, y before, y after).
    """

    variable: str
    line: str
    dots: tuple[tuple[float, float], ...]
    moves: tuple[tuple[float, float, float], ...]
    ticks: tuple[tuple[float, int], ...]
    levels: tuple[tuple[float, str], ...]
    words: str


def write_page(data: Mapping[str, Any], path: Path) -> None:
    """Write the page for the owner of the file only; it loads nothing and runs nothing."""
    environment = page.template_environment()
    words = Words(data["variables"])
    environment.filters |= {"thousands": page.thousands, "percent": percent, "clock": clock, "entry": words.entry}
    environment.filters |= {"moves": words.moves, "traces": words.traces, "in_population": in_population}
    text = environment.get_template("screen.html.j2").render(data, width=WIDTH, height=HEIGHT, floor=HEIGHT - _BOTTOM)
    write_private(path, lambda temporary: temporary.write_bytes(text.encode()))


class Words:
    """Values, changes and records of the variables of a screening, as people read them."""

    def __init__(self, variables: Sequence[Mapping[str, Any]]) -> None:
        self._variables = {variable["name"]: variable for variable in variables}

    def value(self, name: str, value: float) -> str:
        """A value at its charted precision, or with as many decimals as were recorded, at most two more."""
        digits = max(0, -math.floor(math.log10(self._variables[name]["precision"])))
        for more in range(3):
            if abs(round(value, digits + more) - value) < 10.0 ** -(digits + 3):
                break
        return page.fixed(float(value), digits + more)

    def entry(self, change: Mapping[str, Any]) -> str:
        """`Creatinine at 46 h 15 min: 1.1 → 1.6 mg/dL`."""
        name = change["variable"]
        before, after = (self.value(name, change[end]) for end in ("value_before", "value_after"))
        unit = _UNITS.get(change["unit"], change["unit"])
        label = self._variables[name]["label"]
        return f"{label} at {clock(change['hours'])}: {before} \N{RIGHTWARDS ARROW} {after} {unit}".strip()

    def moves(self, flip: Mapping[str, Any] | None) -> str:
        """All entries of a flip, or that there is none."""
        return "no flip found" if flip is None else "; ".join(self.entry(change) for change in flip["changes"])

    def traces(self, stay: Stay) -> list[Trace]:
        """One drawing a variable that a reported change of the stay touches, those of the smallest flip first."""
        flips = [flip for flip in (stay["smallest"], *stay["single"]) if flip is not None]
        changes = [change for flip in flips for change in flip["changes"]]
        names = dict.fromkeys(change["variable"] for change in changes)
        return [
            self._trace(
                name, stay, list({_key(change): change for change in changes if change["variable"] == name}.values())
            )
            for name in names
        ]

    def _trace(self, name: str, stay: Stay, changes: Sequence[Mapping[str, Any]]) -> Trace:
        points = stay["recorded"][name]
        values: list[float] = [value for _, value in points] + [change["value_after"] for change in changes]
        low, high = min(values), max(values)
        span, window = (high - low) or 1.0, max(1, int(stay["n_hours"]))

        def x(hours: float) -> float:
            return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * hours / window, 1)

        def y(value: float) -> float:
            place = 0.5 if high == low else (value - low) / span
            return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * place, 1)

        dots = tuple((x(hours), y(value)) for hours, value in points)
        levels = (
            ((y(low), self.value(name, low)),)
            if high == low
            else tuple((y(level), self.value(name, level)) for level in (low, high))
        )
        label = self._variables[name]["label"]
        return Trace(
            variable=name,
            line=" ".join(f"{across},{up}" for across, up in dots),
            dots=dots,
            moves=tuple((x(c["hours"]), y(c["value_before"]), y(c["value_after"])) for c in changes),
            ticks=tuple((x(hour), hour) for hour in range(0, stay["n_hours"] + 1, _HOURS_A_TICK)),
            levels=levels,
            words=f"{label}, {len(points)} recorded values; {'; '.join(self.entry(change) for change in changes)}",
        )


def clock(hours: float) -> str:
    """`46 h 15 min` since ICU admission."""
    minutes = math.floor(hours * 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(share: float) -> str:
    """A share as whole per cent; more than nothing is never 0 %."""
    return "<1 %" if 0 < share < _RAREST_SHARE else f"{100 * share:.0f} %"


def in_population(flip: Mapping[str, Any]) -> str:
    """How the flip compares with the attacked stays of the run, in one sentence; empty where nothing is known."""
    costs = flip["population"]
    if costs is None:
        return ""
    share = f"at least {percent(costs['share_no_more'])}" if costs["share_no_more"] else "none that is known"
    return (
        f"Of the {costs['n_attacked']:,} stays of the run that were attacked in this direction, as little or less "
        f"flipped {share}."
    )


def _key(change: Mapping[str, Any]) -> tuple[float, float, float]:
    return change["hours"], change["value_before"], change["value_after"]

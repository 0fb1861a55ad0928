"""New records: a table with one row a recorded value, checked, as the hourly means that the models know.

Messages and logs count rows and name variables, units and ranges; they never quote a patient's value.
"""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.events import Events, events_of
from ehr_attack.errors import UserError
from ehr_attack.screening.description import RunDescription
from ehr_attack.variables import Variable

_log = logging.getLogger(__name__)
COLUMNS = ("stay_id", "hours", "variable", "value")
UNIT, LENGTH = "unit", "hours_observable"
"""Columns that may be there besides: the unit of each value, to be checked; hours of the window before a stay's end."""
_Floats = npt.NDArray[np.float64]
_LARGEST_ID = float(2**53)


@dataclass(frozen=True)
class Records:
    """Recorded values of new stays, sorted by id; arrays as in `stays.StayBatch`. `rows`: one a value in a window."""

    stay_ids: npt.NDArray[np.int64]
    n_hours: npt.NDArray[np.int64]
    carry_in: npt.NDArray[np.float32]
    rows: pd.DataFrame
    window_hours: int

    @property
    def events(self) -> Events:
        """The recorded values of all stays."""
        return events_of(
            *(self.rows[name].to_numpy() for name in ("stay", "hours", "feature", "value")),
            n_stays=len(self.stay_ids),
            n_hours=self.window_hours,
            n_features=self.carry_in.shape[1],
        )

    def part(self, chosen: npt.NDArray[np.int64]) -> "Records":
        """Some of the stays, by rising position."""
        rows = self.rows[self.rows["stay"].isin(chosen)]
        rows = rows.assign(stay=np.searchsorted(chosen, rows["stay"].to_numpy()))
        return Records(self.stay_ids[chosen], self.n_hours[chosen], self.carry_in[chosen], rows, self.window_hours)


def read_records(path: Path, description: RunDescription) -> Records:
    """Read and check a CSV(.gz) or Parquet file with the columns COLUMNS, and perhaps UNIT and LENGTH.

    hours since ICU admission; variable: a name of the run's; value in its canonical unit. What lies outside the window
    is left out, and told of; what was recorded up to `carry_in_hours` before it fills the first hours, as in the run.
    Raises UserError for a file that is not readable or empty, missing columns, ids that are no whole numbers, hours or
    values that are no numbers, unknown variables, other units, values outside a variable's plausible range, and stays
    without a value in the window.
    """
    variables = description.variables
    frame = _checked_columns(_read(path), path)
    stay_ids = _numbers(frame, "stay_id", path, whole=True)
    hours, value = (_numbers(frame, name, path) for name in ("hours", "value"))
    feature = _features(frame, variables, path)
    _check_units(frame, variables, feature, path)
    _check_ranges(value, variables, feature, path)
    ids, stay = np.unique(stay_ids.astype(np.int64), return_inverse=True)
    n_hours = _lengths(frame, stay, len(ids), description.window_hours, path)
    rows = pd.DataFrame({"stay": stay, "hours": hours, "feature": feature, "value": value})
    inside = (hours >= 0) & (hours < n_hours[stay])
    before = (hours < 0) & (hours >= -description.carry_in_hours)
    if left_out := int((~inside & ~before).sum()):
        _log.warning(
            "%s: %d of %d values lie outside the hours that the models know (%g to %d, and not beyond a stay's end); "
            "they are left out.",
            path, left_out, len(rows), 0 - description.carry_in_hours, description.window_hours,
        )  # fmt: skip
    if empty := len(ids) - len(np.unique(stay[inside])):
        raise UserError(
            f"{path}: {empty} of {len(ids)} stays have no value in the hours 0 to {description.window_hours} (or "
            "before their end): nothing to judge them by. Expected at least one each; check the column hours, which "
            "counts from ICU admission, or take these stays out."
        )
    carry_in = np.full((len(ids), len(variables)), np.nan, dtype=np.float32)
    # As `features.sql` has it: the last one counts, of several at one time the largest.
    last = rows[before].sort_values(["hours", "value"], kind="stable").drop_duplicates(["stay", "feature"], keep="last")
    carry_in[last["stay"], last["feature"]] = last["value"]
    return Records(ids, n_hours, carry_in, rows[inside], description.window_hours)


def template(description: RunDescription, typical: Sequence[float]) -> pd.DataFrame:
    """An example of a file that `read_records` takes: one stay, every variable twice, at its `typical` value."""
    steps = np.array([variable.precision for variable in description.variables])
    low = np.array([variable.low_exclusive for variable in description.variables]) + steps
    values = np.maximum(np.round(np.rint(np.asarray(typical) / steps) * steps, 9), low)
    names = [variable.name for variable in description.variables]
    units = [variable.unit for variable in description.variables]
    parts = [
        pd.DataFrame({"stay_id": 1, "hours": hours, "variable": names, "value": values, "unit": units})
        for hours in (0.5, description.window_hours - 0.5)
    ]
    return pd.concat(parts, ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: no such file. Expected a CSV or Parquet file with the columns {', '.join(COLUMNS)}.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, skipinitialspace=True)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: not readable as {'Parquet' if path.suffix == '.parquet' else 'CSV'}; expected a table with the "
            f"columns {', '.join(COLUMNS)}, as .csv, .csv.gz or .parquet."
        ) from error


def _checked_columns(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    frame = frame.rename(columns=lambda name: str(name).strip())
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)} (one row a recorded value). "
            "`ehr-attack predict --run RUN --template FILE` writes an example."
        )
    if frame.columns.duplicated().any():
        raise UserError(f"{path}: a column stands there twice; expected {', '.join(COLUMNS)}, each once.")
    if frame.empty:
        raise UserError(f"{path}: no rows; expected one row a recorded value.")
    return frame.reset_index(drop=True)


def _numbers(frame: pd.DataFrame, name: str, path: Path, whole: bool = False) -> _Floats:
    """A column as finite float64 (rows,); whole: integers that float64 holds exactly."""
    numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~np.isfinite(numbers)
    if whole:
        wrong |= np.abs(np.where(wrong, 0.0, numbers)) > _LARGEST_ID
        wrong |= ~wrong & (numbers != np.rint(np.where(wrong, 0.0, numbers)))
    if wrong.any():
        raise UserError(
            f"{path}: column {name}: {_rows(wrong)} no {'whole ' if whole else 'finite '}number; expected one in every "
            "row (a value that was not recorded has no row)."
        )
    return numbers


def _features(frame: pd.DataFrame, variables: Sequence[Variable], path: Path) -> npt.NDArray[np.int64]:
    """The number of each row's variable, (rows,)."""
    names = {variable.name: number for number, variable in enumerate(variables)}
    words = frame["variable"].astype("string").str.strip()
    feature = words.map(names).to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isnan(feature).any():
        known = ", ".join(f"{variable.name} [{variable.unit}]" for variable in variables)
        raise UserError(
            f"{path}: column variable: {_rows(np.isnan(feature))} not one of this run's variables; expected {known}. "
            "Take other rows out."
        )
    return feature.astype(np.int64)


def _check_units(
    frame: pd.DataFrame, variables: Sequence[Variable], feature: npt.NDArray[np.int64], path: Path
) -> None:
    if UNIT not in frame.columns:
        return
    wanted = np.array([variable.unit for variable in variables], dtype=object)[feature]
    given = frame[UNIT].astype("string").str.strip().fillna("").to_numpy(dtype=object)
    for number in np.unique(feature[given != wanted]):
        wrong = (feature == number) & (given != wanted)
        raise UserError(
            f"{path}: {variables[number].name}: {_rows(wrong)} in another unit or none; expected "
            f"{variables[number].unit} in every row. Convert the values."
        )


def _check_ranges(value: _Floats, variables: Sequence[Variable], feature: npt.NDArray[np.int64], path: Path) -> None:
    low = np.array([variable.low_exclusive for variable in variables])
    high = np.array([variable.high_inclusive for variable in variables])
    outside = (value <= low[feature]) | (value > high[feature])
    if outside.any():
        told = []
        for number in np.unique(feature[outside]):
            variable = variables[number]
            count = int((outside & (feature == number)).sum())
            told.append(
                f"{variable.name}: {count} (above {variable.low_exclusive:g}, up to {variable.high_inclusive:g} "
                f"{variable.unit})"
            )
        raise UserError(
            f"{path}: values outside the plausible range, by variable, with what was expected: {'; '.join(told)}. "
            "Check the units and the records; take out what is no measurement."
        )


def _lengths(
    frame: pd.DataFrame, stay: npt.NDArray[np.int64], n_stays: int, window_hours: int, path: Path
) -> npt.NDArray[np.int64]:
    """Hours of the window that each stay lasts, (stays,): LENGTH where it is given, else the whole window."""
    if LENGTH not in frame.columns:
        return np.full(n_stays, window_hours, dtype=np.int64)
    given = _numbers(frame, LENGTH, path, whole=True)
    wrong = given < 1
    if wrong.any():
        raise UserError(f"{path}: column {LENGTH}: {_rows(wrong)} below 1; expected whole hours before a stay's end.")
    longest, shortest = np.zeros(n_stays), np.full(n_stays, np.inf)
    np.maximum.at(longest, stay, given)
    np.minimum.at(shortest, stay, given)
    if (longest != shortest).any():
        raise UserError(
            f"{path}: column {LENGTH}: {int((longest != shortest).sum())} stays have more than one; expected the same "
            "in every row of a stay."
        )
    return np.minimum(longest, window_hours).astype(np.int64)


def _rows(wrong: npt.NDArray[np.bool_]) -> str:
    """`3 rows (the first: row 7) are`; rows count from 1, the header not counted."""
    count, first = int(wrong.sum()), int(wrong.argmax()) + 1
    return f"{count} row{'s' if count > 1 else ''} (the first: row {first}) {'are' if count > 1 else 'is'}"

"""Writes the synthetic tables: block after block of stays, each from a random stream of its own."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ehr_attack.errors import UserError
from ehr_attack.progress import Progress
from ehr_attack.sources.published import published_file
from ehr_attack.synthetic import mimic4, rendering
from ehr_attack.synthetic.charting import draw_charting
from ehr_attack.synthetic.cohort import draw_cohort
from ehr_attack.synthetic.laboratory import draw_labs
from ehr_attack.synthetic.mimic4 import Block
from ehr_attack.synthetic.rendering import Columns, Identifiers
from ehr_attack.synthetic.severity import draw_course, draw_liability
from ehr_attack.synthetic.tables import TABLES, table_writer
from ehr_attack.synthetic.truth import Planted, check_signal

MIN_STAYS = 20
BLOCK_STAYS = 500
"""Stays made at a time. It bounds the memory, and another value gives other records."""


def generate(
    out_dir: Path,
    stays: int,
    seed: int,
    signal: str,
    shape: str = "mimic3",
    planted: Mapping[str, Any] | None = None,
) -> None:
    """Write `stays` synthetic ICU stays as the tables of MIMIC-III or MIMIC-IV.

    out_dir: made when missing; the files lie in it as in a release (`<NAME>.csv.gz`, `hosp/<name>.csv.gz`). signal:
    which hours decide the outcome, `late`, `early` or `none` (`truth.py`). shape: `mimic3` or `mimic4`, which holds the
    same records but for those that MIMIC-IV has no place for (`mimic4.py`). planted: None, or the one `variable` and
    the `hours` (first, last) that decide instead of the signal (`truth.Planted`). The same arguments give the same
    bytes, and a larger `stays` continues a smaller one by whole blocks. Raises UserError for an impossible argument.
    """
    _check(stays, seed, signal, shape)
    truth = Planted.of(planted)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(table_writer(Path(out_dir) / published_file(shape, name.lower()), schema))
            for name, schema in TABLES[shape].items()
        }
        dictionaries = mimic4.dictionaries() if shape == "mimic4" else rendering.dictionaries()
        for name, columns in dictionaries.items():
            writers[name].append(columns)
        progress = stack.enter_context(Progress("synthetic records", stays))
        for block, first in enumerate(range(0, stays, BLOCK_STAYS)):
            count = min(BLOCK_STAYS, stays - first)
            streams = np.random.SeedSequence(seed, spawn_key=(block,))
            for name, columns in _block(streams, first, count, signal, shape, truth).items():
                writers[name].append(columns)
            progress.advance(count)


def _block(
    streams: np.random.SeedSequence, first: int, count: int, signal: str, shape: str, planted: Planted | None
) -> dict[str, Columns]:
    """The rows of `count` stays from the `first` on, by table name.

    Each part draws from its own stream, so that a change of one part leaves the draws of the others as they
    were.
    """
    course_rng, cohort_rng, lab_rng, chart_rng, text_rng, later_rng = map(np.random.default_rng, streams.spawn(6))
    course = draw_course(course_rng, count, planted)
    cohort = draw_cohort(cohort_rng, draw_liability(cohort_rng, course, signal, planted))
    labs = draw_labs(lab_rng, cohort, course)
    charting = draw_charting(chart_rng, cohort, course, labs)
    ids = Identifiers.draw(text_rng, cohort, first)
    tables = {
        "ADMISSIONS": rendering.admissions(text_rng, cohort, ids),
        "PATIENTS": rendering.patients(text_rng, cohort, ids),
        "ICUSTAYS": rendering.icustays(text_rng, cohort, ids),
        "CHARTEVENTS": rendering.chartevents(text_rng, cohort, ids, charting),
        "LABEVENTS": rendering.labevents(text_rng, cohort, ids, labs),
    }
    return mimic4.retold(later_rng, tables, Block(cohort, charting, labs, first)) if shape == "mimic4" else tables


def _check(stays: int, seed: int, signal: str, shape: str) -> None:
    if stays < MIN_STAYS:
        raise UserError(
            f"synthetic.stays: {stays} is too few; expected {MIN_STAYS} or more (2,500 make a cohort to "
            "learn from). Raise it in config.yaml."
        )
    if seed < 0:
        raise UserError(f"synthetic.seed: {seed} is negative; expected 0 or more. Change it in config.yaml.")
    check_signal(signal)
    if shape not in TABLES:
        raise UserError(f"synthetic.shape: {shape!r} is unknown; expected one of {', '.join(TABLES)}.")

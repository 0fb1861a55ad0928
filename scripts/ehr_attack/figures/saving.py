"""Writing a figure as SVG and PNG whose bytes depend on the drawing only."""

import os
import re
from pathlib import Path

from matplotlib.figure import Figure

from ehr_attack.storage import atomic_path

_COORDINATES = re.compile(r'(?<= )(?:d|x|y|x1|x2|y1|y2|width|height|points)="[^"]*"|translate\([^)]*\)')
_LONG_DECIMAL = re.compile(r"(\d+\.\d{2})\d+")
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600


def save_figure(figure: Figure, out_dir: Path, stem: str, *, dpi: int, title: str) -> None:
    """Write `out_dir/stem.svg` and `out_dir/stem.png`, images at `dpi` dots per inch.

    `title` goes into the files' metadata. Call it inside `use_style`: the ids in the SVG come from its salt.
    """
    with atomic_path(out_dir / f"{stem}.svg") as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={"Title": title, "Date": None, "Creator": None})
        temporary.write_text(_shorten(temporary.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    with atomic_path(out_dir / f"{stem}.png") as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={"Title": title, "Software": None})


def save_private_figure(figure: Figure, out_dir: Path, stem: str, *, dpi: int, title: str) -> None:
    """Like `save_figure`, for patient-level figures: for their owner only (folder 0700, files 0600)."""
    out_dir.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    os.chmod(out_dir, _PRIVATE_FOLDER)
    save_figure(figure, out_dir, stem, dpi=dpi, title=title)
    for suffix in ("svg", "png"):
        os.chmod(out_dir / f"{stem}.{suffix}", _PRIVATE_FILE)


def _shorten(svg: str) -> str:
    """Cut coordinates (never scale factors) to hundredths of a point: half the size, and no long digit runs.

    A run of six digits in a fraction could pass for a patient's number where outputs are searched for such
    numbers.
    """
    return _COORDINATES.sub(lambda part: _LONG_DECIMAL.sub(r"\1", part.group()), svg)

"""What a page is made of: its templates, numbers as text, figures and tables as data URIs."""

import base64
import gzip
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import PIL.Image
from markupsafe import Markup

from ehr_attack.errors import UserError
from ehr_attack.paths import TEMPLATE_DIR

NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
MAX_SVG_BYTES, MAX_COMPACT_SVG_BYTES = 200_000, 20_000
_COLOURS = 96
MAX_DOWNLOAD_BYTES, MAX_DOWNLOADS_BYTES = 1_000_000, 3_000_000
PACKED_BYTES = 100_000
"""A table of more bytes is carried as gzip."""

_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")
_COMMENTS, _BETWEEN_TAGS = re.compile(rb"<!--.*?-->", re.S), re.compile(rb">\s+<")


@dataclass(frozen=True)
class Image:
    """A figure inside the page; width and height in CSS pixels."""

    uri: Markup
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True)
class Download:
    """A table offered inside the page; `uri` is empty when the file is too large to carry along.

    kilobytes: of the file to download.
    """

    name: str
    uri: Markup
    kilobytes: int


def template_environment() -> jinja2.Environment:
    """Where the pages' templates come from: everything escaped, a name that is not there an error, no stray lines."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE_DIR),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def fixed(value: Any, digits: int = 2) -> str:
    """A number with `digits` decimals, or a dash where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    return f"{value:z.{digits}f}".replace("-", _MINUS)


def significant(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits, or a dash where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    return f"{value:.{digits}g}".replace("-", _MINUS)


def interval(value: Any, low: Any, high: Any, digits: int = 2) -> str:
    """`0.86 (0.83 to 0.89)`; the bracket only where there is an interval."""
    bounds = "" if NOTHING in (fixed(low), fixed(high)) else f" ({fixed(low, digits)} to {fixed(high, digits)})"
    return fixed(value, digits) + bounds


def minus(text: str) -> str:
    """A sentence whose negative numbers have a proper minus."""
    return _NEGATIVE.sub(_MINUS, text)


def thousands(count: Any) -> str:
    """A count with thousands separators; texts such as `<10` stay, nothing becomes a dash."""
    text = "" if count is None or (isinstance(count, float) and math.isnan(count)) else str(count)
    return f"{int(text):,}" if text.isdigit() else text or NOTHING


def embed_figure(folder: Path, stem: str, alt: str, caption: str, *, compact: bool = False) -> Image:
    """`folder/stem.svg` inside the page, or the PNG beside it, in fewer colours, where the SVG is large.

    compact: prefer the PNG, a fifth of the SVG's size. Raises UserError when the figure is missing.
    """
    try:
        svg = (folder / f"{stem}.svg").read_bytes()
        width, height = _size(svg)
        if len(svg) <= (MAX_COMPACT_SVG_BYTES if compact else MAX_SVG_BYTES):
            return Image(_data_uri("image/svg+xml", _dense(svg)), width, height, alt, caption)
        picture = _in_few_colours((folder / f"{stem}.png").read_bytes())
        return Image(_data_uri("image/png", picture), width, height, alt, caption)
    except OSError as error:
        raise UserError(
            f"{error.filename}: the figure is missing ({error.strerror}). Run `snakemake` without a target; "
            "it makes every figure before the report."
        ) from error


def embed_tables(paths: Sequence[Path]) -> list[Download]:
    """CSV files to download from inside the page, those smaller than a megabyte, while all together stay small too.

    Large ones are compressed (`.csv.gz`), the same bytes each time. Raises UserError when a file is missing.
    """
    downloads, carried = [], 0
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: the table is missing. Run `snakemake {path}` to make it anew.") from error
        name, packed, kind = path.name, content, "text/csv"
        if len(content) > PACKED_BYTES:
            name, packed, kind = f"{name}.gz", gzip.compress(content, compresslevel=9, mtime=0), "application/gzip"
        if len(packed) < MAX_DOWNLOAD_BYTES and carried + len(packed) < MAX_DOWNLOADS_BYTES:
            carried += len(packed)
            downloads.append(Download(name, _data_uri(kind, packed), math.ceil(len(packed) / 1000)))
        else:
            downloads.append(Download(path.name, Markup(), math.ceil(len(content) / 1000)))
    return downloads


def _data_uri(kind: str, content: bytes) -> Markup:
    # Base64 holds nothing that HTML would escape.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")


def _in_few_colours(png: bytes) -> bytes:
    """A PNG with a palette: charts have few colours, and the file is a third of the size."""
    buffer = io.BytesIO()
    with PIL.Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(_COLOURS, PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _dense(svg: bytes) -> bytes:
    """An SVG of matplotlib without the comments and line breaks that no viewer needs."""
    return _BETWEEN_TAGS.sub(b"><", _COMMENTS.sub(b"", svg)).replace(b"\n", b" ")


def _size(svg: bytes) -> tuple[int, int]:
    head = svg[:2000].decode("utf-8", errors="replace")
    sizes = [re.search(rf'<svg[^>]*\s{name}="([\d.]+)pt"', head) for name in ("width", "height")]
    width, height = (round(float(size.group(1)) * 4 / 3) if size else 0 for size in sizes)
    return width, height

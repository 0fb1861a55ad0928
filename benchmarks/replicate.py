"""The MIMIC-III demo many times over: a source of any size with real columns, real values and unique keys.

    python -m benchmarks.replicate <folder of the demo> <folder to write> <copies>

Copy k (1, 2, ...) of a row has the same values; k is written in front of each of its keys, padded with zeros to a fixed
width, so the keys of two copies never meet. Text is streamed through zlib, one stream a file, as the release has it.
"""

import gzip
import shutil
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ehr_attack.sources import mimic3
from ehr_attack.storage import atomic_path

KEY_WIDTHS = {"row_id": 9, "subject_id": 6, "hadm_id": 6, "icustay_id": 6}
"""Digits of each key in the source, at most: copy k of key i is k * 10 ** width + i."""

_MARK = b"\0"
_SLICE_BYTES = 1 << 23


def replicate(source: Path, out: Path, copies: int) -> Path:
    """Write the tables of `source` `copies` times over to the folder `out`, unless it is there; returns `out`.

    The folder appears when it is complete. Tables without patients (dictionaries of items) are copied once. Raises
    ValueError when a table's keys do not come first, as in the release, or are wider than `KEY_WIDTHS`.
    """
    if out.is_dir():
        return out
    with atomic_path(out) as temporary:
        temporary.mkdir()
        for table, file in mimic3.find_tables(source).items():
            target = temporary / f"{table.upper()}.csv.gz"
            if table in mimic3.TABLES:
                _write_gzip(_copies(_read(file), copies), target)
            else:
                shutil.copy(file, target)
    return out


def _read(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def _copies(text: bytes, copies: int) -> Iterator[bytes]:
    """The header, then the rows of each copy in pieces."""
    header, *rows = text.splitlines(keepends=True)
    yield header
    template = _template(header, rows)
    for copy in range(1, copies + 1):
        number = str(copy).encode()
        for piece in template:
            yield piece.replace(_MARK, number)


def _template(header: bytes, rows: list[bytes]) -> list[bytes]:
    """The rows in pieces, with a mark in front of each key where the number of the copy goes."""
    names = [name.strip().strip('"').lower() for name in header.decode().split(",")]
    keys = [name for name in names if name in KEY_WIDTHS]
    if not keys or names[: len(keys)] != keys:
        raise ValueError(f"expected a table whose first columns are its keys; found {', '.join(names)}")
    widths = [KEY_WIDTHS[key] for key in keys]
    pieces, piece, size = [], [], 0
    for row in rows:
        marked = _marked(row, widths)
        piece.append(marked)
        size += len(marked)
        if size > _SLICE_BYTES:
            pieces.append(b"".join(piece))
            piece, size = [], 0
    return [*pieces, b"".join(piece)]


def _marked(row: bytes, widths: list[int]) -> bytes:
    *keys, rest = row.split(b",", len(widths))
    for key, width in zip(keys, widths, strict=True):
        if (key and not key.isdigit()) or len(key) > width or _MARK in rest:
            raise ValueError(f"expected a row that begins with {len(widths)} keys of at most {widths} digits")
    return b",".join([*(key and _MARK + key.zfill(width) for key, width in zip(keys, widths, strict=True)), rest])


def _write_gzip(pieces: Iterator[bytes], target: Path) -> None:
    """Compress in a second thread: zlib lets go of the interpreter while it works."""
    compressor = zlib.compressobj(level=6, wbits=31)
    with target.open("wb") as file, ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(bytes)
        for piece in pieces:
            file.write(pending.result())
            pending = pool.submit(compressor.compress, piece)
        file.write(pending.result())
        file.write(compressor.flush())


if __name__ == "__main__":
    replicate(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

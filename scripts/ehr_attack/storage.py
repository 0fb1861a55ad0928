"""Reading and writing files: always whole files, by a temporary name and a rename, never a pickle."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ehr_attack.errors import UserError

if TYPE_CHECKING:
    # Its import takes longer than many a job.
    import pandas as pd

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SCRATCH = re.compile(r"\.(?P<target>.+)\.[a-z0-9_]{8}")


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` when the block ends without an error.

    The target's folder is made when missing. On any error the temporary file is removed and `target` is left as it was.
    Raises UserError when the folder cannot be written to. An OSError that says that the device is full names `target`.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        if error.errno in _NO_SPACE:
            error.filename = str(target)
            raise
        raise UserError(
            f"{target.parent}: cannot write here ({error.strerror}). Expected a folder that this user may write to; "
            "check its owner and permissions, or choose another folder with `snakemake --directory <folder>`."
        ) from error
    try:
        # A folder of its own keeps the suffix of the name, which some writers read the format from.
        temporary = scratch / target.name
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        # Writers name no file then, or one in the scratch folder, which nobody will find.
        if error.errno in _NO_SPACE and str(scratch) in str(error.filename or scratch):
            error.filename = str(target)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def clear_scratch(targets: Iterable[str | Path]) -> None:
    """Remove what `atomic_path` left beside `targets` in processes that were killed. None may be at work there."""
    names: dict[Path, set[str]] = {}
    for target in map(Path, targets):
        names.setdefault(target.parent, set()).add(target.name)
    for folder, of_targets in names.items():
        for path in folder.glob(".*"):
            if (found := _SCRATCH.fullmatch(path.name)) and found["target"] in of_targets:
                shutil.rmtree(path, ignore_errors=True)


def write_parquet(table: pa.Table, path: str | Path, schema: pa.Schema | None = None) -> None:
    """Write `table` as zstd Parquet, cast to `schema` (column order and types) when one is given.

    The bytes depend on the table's content only: metadata that pandas adds is dropped.
    """
    if schema is not None:
        table = table.select(schema.names).cast(schema)
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd")


@contextmanager
def parquet_streams(targets: Mapping[str | Path, pa.Schema]) -> Iterator[Callable[[Path | str, pa.Table], None]]:
    """Yield a function that appends a table to one of the target files, a row group a table; rename all at the end.

    The bytes depend on the tables given and on how they are split. On an error no target is written.
    """
    with ExitStack() as stack:
        writers = {
            str(target): stack.enter_context(
                pq.ParquetWriter(stack.enter_context(atomic_path(target)), schema, compression="zstd")
            )
            for target, schema in targets.items()
        }

        def append(target: Path | str, table: pa.Table) -> None:
            if len(table):
                writers[str(target)].write_table(table)

        yield append


def write_frame(frame: "pd.DataFrame", path: str | Path, schema: pa.Schema) -> None:
    """Write a pandas frame as Parquet with the columns and types of `schema`; NaN in float columns stays NaN."""
    columns = [pa.array(frame[field.name], type=field.type, from_pandas=_nan_is_null(field)) for field in schema]
    write_parquet(pa.Table.from_arrays(columns, schema=schema), path)


def _nan_is_null(field: Any) -> bool:
    return not pa.types.is_floating(field.type)


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file (or the named columns of it). Raises UserError when it is missing or unreadable."""
    with _readable(path):
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)


def parquet_batches(
    path: str | Path, columns: Sequence[str], rows: int, as_categories: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of a Parquet file, at most `rows` rows at a time; empty batches are left out.

    as_categories: text columns to be given as dictionary arrays. Raises UserError as `read_parquet` does.
    """
    with _readable(path), pq.ParquetFile(path, read_dictionary=list(as_categories)) as file:
        lacking = set(columns) - set(file.schema_arrow.names)
        if lacking:
            raise KeyError(*lacking)
        for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
            if batch.num_rows:
                yield batch


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Run the stage that writes it (`snakemake {path}`).") from error
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise UserError(
            f"{path}: not a readable Parquet file with the expected columns. "
            "Delete it and run snakemake again; the stage that writes it will make it anew."
        ) from error


def read_frame(path: str | Path, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Read a Parquet file as a pandas frame; see `read_parquet`."""
    table = read_parquet(path, columns)
    with _readable(path):
        return table.to_pandas()


def read_frames(paths: Iterable[str | Path]) -> "pd.DataFrame":
    """Read Parquet files of the same columns, at least one, as one pandas frame; see `read_parquet`."""
    files = list(paths)
    tables = [read_parquet(path) for path in files]
    with _readable(files[0]):
        return pa.concat_tables(tables).to_pandas()


def write_text(text: str, path: str | Path) -> None:
    """Write `text` as UTF-8 with line feeds."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` as indented JSON with sorted keys; NaN is refused (ValueError), since JSON has none."""
    write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n", path)


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises UserError when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable JSON file ({error}). Delete it and run snakemake again.") from error


def write_csv(frame: "pd.DataFrame", path: str | Path) -> None:
    """Write a frame as CSV for people: no index, line feeds, six significant digits."""
    write_text(frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"), path)


def file_digest(path: str | Path) -> str:
    """SHA-256 of all bytes of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Ways to spoil a project's source, config, folders and disks, and a look at what a run that refused has left."""

import csv
import gzip
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from workflow.conftest import Project

TABLES = "tables"
"""The folder of a project that `source.path` names."""

Row = dict[str, str]
Damage = Callable[[Project], None]


def settings(**values: object) -> Damage:
    """Set keys of config.yaml, known or not; `cohort__min_age_years` is `cohort.min_age_years`."""

    def damage(project: Project) -> None:
        for key, value in values.items():
            project.edit_config(key.replace("__", "."), value)

    return damage


def config_text(change: Callable[[str], str]) -> Damage:
    """Rewrite the text of config.yaml, for what a YAML writer would never write."""

    def damage(project: Project) -> None:
        file = project.folder / "config.yaml"
        file.write_text(change(file.read_text()))

    return damage


def without(table: str) -> Damage:
    """Remove a table of the source."""
    return lambda project: (project.folder / TABLES / table).unlink()


def content(table: str, change: Callable[[bytes], bytes]) -> Damage:
    """Rewrite the bytes of a table's file."""

    def damage(project: Project) -> None:
        file = project.folder / TABLES / table
        file.write_bytes(change(file.read_bytes()))

    return damage


def rows(table: str, change: Callable[[list[Row]], list[Row]]) -> Damage:
    """Rewrite the rows of a table; the header stays as it is."""

    def rewritten(packed: bytes) -> bytes:
        reader = csv.DictReader(io.StringIO(gzip.decompress(packed).decode()))
        text = io.StringIO()
        writer = csv.DictWriter(text, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(change(list(reader)))
        return gzip.compress(text.getvalue().encode())

    return content(table, rewritten)


def with_header(table: str, change: Callable[[str], str]) -> Damage:
    """Rewrite the first line of a table."""

    def rewritten(packed: bytes) -> bytes:
        header, _, rest = gzip.decompress(packed).decode().partition("\n")
        return gzip.compress(f"{change(header)}\n{rest}".encode())

    return content(table, rewritten)


def only_deaths(stays: int) -> Damage:
    """Let that many stays of one patient end in death, and no other stay."""

    def damage(project: Project) -> None:
        cohort = pq.read_table(project.folder / "results/small/extract/stays.parquet").to_pandas()
        patient = cohort["subject_id"].mode()[0]
        died = {str(admission) for admission in cohort["hadm_id"][cohort["subject_id"] == patient].unique()[:stays]}
        assert len(died) == stays, "the cohort has a patient with that many admissions"

        def change(admissions: list[Row]) -> list[Row]:
            return [row | {"HOSPITAL_EXPIRE_FLAG": str(int(row["HADM_ID"] in died))} for row in admissions]

        rows("ADMISSIONS.csv.gz", change)(project)

    return damage


def fill(folder: Path) -> None:
    """Write to `folder` until the device is full to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


@contextmanager
def small_device(folder: Path, kilobytes: int) -> Iterator[None]:
    """Mount a file system of that size on `folder`."""
    with _mounted(folder, f"size={kilobytes}k"):
        yield


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to `folder`, not even root."""
    if os.geteuid() == 0:
        with _mounted(folder, "ro"):
            yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        # Not a failure where all real parts are required: a right of the machine, which nobody can install.
        pytest.skip("no file system can be mounted here: that takes root and, in a container, CAP_SYS_ADMIN")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Time stamp and size of every file below `folder` but the logs, benchmarks and records of jobs, by path."""
    told = ("logs", "benchmarks", "provenance")
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name not in told]
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

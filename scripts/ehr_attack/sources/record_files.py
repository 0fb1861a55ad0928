"""Reading the many small record files of a set, from a folder or an archive, as one CSV text."""

import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ehr_attack.errors import UserError
from ehr_attack.progress import Progress
from ehr_attack.sources.csv_file import check_gzip

_HEADER = b"time,parameter,value"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass
class Gathered:
    """Which record file each line of the gathered text came from; line numbers count from 1."""

    first_lines: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def place(self, line: int) -> str:
        """The record file and its own line of a line of the gathered text."""
        index = max(0, bisect_right(self.first_lines, line) - 1)
        return f"{self.files[index]}, line {line - self.first_lines[index] + 2}"

    def file_of(self, record_id: str) -> str:
        """The record file of a record."""
        return next(name for name in self.files if PurePosixPath(name).stem == record_id)


def gather(records: Path, out: Path) -> Gathered:
    """Write the lines of all record files as `RecordID,Time,Parameter,Value`, without a header, to `out`.

    records: the folder or the .tar.gz archive of a set; files that are not <RecordID>.txt are passed over. Raises
    UserError when there is no record, when the archive is damaged, or when a record lacks its header line.
    """
    gathered, line = Gathered(), 1
    with out.open("wb") as text, Progress(f"reading {records.name}", 0, "records") as progress:
        for name, content in _record_files(records):
            record_id = PurePosixPath(name).stem.encode()
            lines = _lines(records, name, content)
            gathered.first_lines.append(line)
            gathered.files.append(name)
            text.writelines(b"%s,%s\n" % (record_id, row) for row in lines)
            line += len(lines)
            progress.advance()
    if not gathered.files:
        raise UserError(
            f"{records}: no record in it. Expected files named <RecordID>.txt; unpack or download the set again."
        )
    return gathered


def _record_files(records: Path) -> Iterator[tuple[str, bytes]]:
    """Name (for messages) and content of each record, in the order in which they are stored."""
    if records.is_dir():
        for path in sorted(records.iterdir()):
            if _is_record(path.name):
                yield f"{records.name}/{path.name}", path.read_bytes()
        return
    check_gzip(records)
    try:
        with tarfile.open(records) as archive:
            for member in archive:
                # Never unpacked to disk: a member's path cannot lead anywhere.
                if member.isfile() and _is_record(PurePosixPath(member.name).name):
                    content = archive.extractfile(member)
                    assert content is not None, "a regular file has content"
                    yield f"{records.name}: {member.name}", content.read()
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{records}: not a tar archive, or one that is cut short. Expected the set as PhysioNet publishes it, "
            "set-<x>.tar.gz; download it again."
        ) from error


def _is_record(name: str) -> bool:
    stem, _, suffix = name.partition(".")
    return suffix.lower() == "txt" and stem.isdecimal()


def _lines(records: Path, name: str, content: bytes) -> list[bytes]:
    header, *lines = content.removeprefix(_BYTE_ORDER_MARK).splitlines() or [b""]
    if header.strip().lower().replace(b" ", b"") != _HEADER:
        raise UserError(
            f"{records.parent}: {name} does not begin with the line Time,Parameter,Value, which every record of the "
            "challenge has. Restore the file, or unpack or download the set again."
        )
    while lines and not lines[-1].strip():
        lines.pop()
    return lines

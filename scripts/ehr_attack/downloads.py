"""Downloading PhysioNet 2012: a cut download is resumed, and a file gets its name only when all checks have passed."""

import argparse
import gzip
import hashlib
import logging
import os
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from ehr_attack.errors import UserError
from ehr_attack.fetching import NotOnServer, fetch, writing

_log = logging.getLogger(__name__)

BASE_URL = "https://physionet.org/files/challenge-2012/1.0.0/"
SETS = ("a", "b", "c")
RECORDS_A_SET = 4000
CHECKSUMS = "SHA256SUMS.txt"

NOTICE = """PhysioNet/Computing in Cardiology Challenge 2012, version 1.0.0, doi:10.13026/C25W25: I. Silva, G. Moody,
D. J. Scott, L. A. Celi and R. G. Mark, "Predicting in-hospital mortality of ICU patients", Computing in Cardiology
39:245-248, 2012. The data are made available under the Open Data Commons Attribution License (ODC-By) v1.0,
https://opendatacommons.org/licenses/by/1-0/: whatever you publish from them must say so (the report does)."""

_BLOCK_BYTES = 1 << 16
_UNREADABLE = (EOFError, OSError, zlib.error, tarfile.TarError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ehr-attack download-physionet2012`."""
    parser.epilog = """examples:
  ehr-attack download-physionet2012
  ehr-attack download-physionet2012 --sets a b c --to /data/physionet2012

A download that was cut short goes on where it stopped when the same command is run again; what is complete is
left alone. Proxies are taken from the environment (https_proxy)."""
    parser.add_argument(
        "--sets",
        nargs="+",
        choices=SETS,
        default=["a"],
        metavar="SET",
        help="which of the three sets a, b, c, each 4,000 stays and about 7 MB. Default: a, the published training "
        "set, which is all that the preset physionet2012 needs; b and c are for training on one set and testing on "
        "another",
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("data/physionet2012"),
        metavar="DIR",
        help="folder to download to, made when missing (default: %(default)s)",
    )
    parser.add_argument(
        "--base-url", default=BASE_URL, metavar="URL", help="a mirror of the files (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Download the sets that were asked for; print the licence notice and the next command."""
    download_physionet2012(list(dict.fromkeys(arguments.sets)), arguments.to, base_url=arguments.base_url)
    print(f"\n{NOTICE}\n\nNext: PHYSIONET2012_DIR={arguments.to} make demo-physionet2012")


def download_physionet2012(
    sets: Sequence[str],
    folder: Path,
    *,
    base_url: str = BASE_URL,
    records: int = RECORDS_A_SET,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Put `set-<x>.tar.gz` and `Outcomes-<x>.txt` of each set into `folder`, checked; skip what is complete there.

    records: how many stays each set must hold. wait: called with the seconds to pause before another try. Raises
    UserError when a file cannot be had, written, or is not what it should be; a part is kept to be resumed.
    """
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise UserError(f"--base-url: {base_url!r} is no web address; expected one that starts with https://.")
    base_url = base_url.rstrip("/") + "/"
    checks: dict[str, Callable[[Path], None]] = {}
    for name in sets:
        checks[f"set-{name}.tar.gz"] = lambda path: check_archive(path, records)
        checks[f"Outcomes-{name}.txt"] = lambda path: check_outcomes(path, records)
    missing = [name for name in checks if not _is_complete(folder / name, checks[name])]
    if not missing:
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    checksums = _published_checksums(base_url, wait)
    for name in missing:
        part = folder / f"{name}.part"
        fetch(urljoin(base_url, name), part, wait)
        try:
            _check_sum(part, name, checksums)
            checks[name](part)
        except UserError:
            part.unlink()
            raise
        os.replace(part, folder / name)
        compared = "SHA-256 as published, " if name in checksums else ""
        _log.info("%s: downloaded, %s%s stays", name, compared, f"{records:,}")


def check_archive(path: Path, records: int) -> None:
    """Read a .tar.gz to its end. Raises UserError when it is damaged or does not hold `records` text files."""
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                found = sum(member.isfile() and member.name.endswith(".txt") for member in archive)
            # Behind the last record lie padding and the checksum of the gzip file, which tarfile does not read.
            while stream.read(_BLOCK_BYTES):
                pass
    except _UNREADABLE as error:
        raise UserError(
            f"{_final(path)}: the archive is damaged or is none ({type(error).__name__}). Expected a gzip-compressed "
            f"tar archive. {_mended(path)}"
        ) from error
    if found != records:
        raise UserError(
            f"{_final(path)}: {found:,} records in the archive; expected {records:,}, one text file a stay. "
            f"{_mended(path)}"
        )


def check_outcomes(path: Path, records: int) -> None:
    """Raises UserError unless the text has the header of an Outcomes file and `records` lines below it."""
    header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if not header.startswith("RecordID,") or "In-hospital_death" not in header:
        raise UserError(
            f"{_final(path)}: not a table of outcomes. Expected a first line with RecordID and In-hospital_death; "
            f"a network's log-in page may have come instead. {_mended(path)}"
        )
    found = sum(bool(line.strip()) for line in lines)
    if found != records:
        raise UserError(f"{_final(path)}: {found:,} outcomes; expected {records:,}, one a stay. {_mended(path)}")


def _final(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".part"))


def _mended(path: Path) -> str:
    """What to do about a bad file: one that was just downloaded is removed by the caller, another is the user's."""
    if path.suffix == ".part":
        return "What had been downloaded is deleted; run the same command again to start this file afresh."
    return "Delete it and run the same command again."


def _is_complete(path: Path, check: Callable[[Path], None]) -> bool:
    if not path.exists():
        return False
    check(path)
    _log.info("%s: complete already", path)
    return True


def _check_sum(part: Path, name: str, checksums: Mapping[str, str]) -> None:
    if name not in checksums:
        return
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != checksums[name]:
        raise UserError(
            f"{_final(part)}: the SHA-256 checksum is {found}, but {CHECKSUMS} of the server says {checksums[name]}. "
            f"{_mended(part)}"
        )


def _published_checksums(base_url: str, wait: Callable[[float], None]) -> dict[str, str]:
    """File name -> SHA-256 as the server publishes them; empty where it publishes none."""
    with tempfile.TemporaryDirectory(prefix="ehr-attack-") as scratch:
        file = Path(scratch) / CHECKSUMS
        try:
            fetch(urljoin(base_url, CHECKSUMS), file, wait)
        except NotOnServer:
            _log.info("%s: not offered by the server; sizes, archives and counts are checked", CHECKSUMS)
            return {}
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines]
    return {pair[1].lstrip("*"): pair[0].lower() for pair in pairs if len(pair) == 2 and len(pair[0]) == 64}

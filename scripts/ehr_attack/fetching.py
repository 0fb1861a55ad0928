"""Fetching a file over HTTP into a partial file that a later try, or a later command, goes on from."""

import errno
import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ehr_attack import __version__
from ehr_attack.errors import UserError
from ehr_attack.progress import Progress

_log = logging.getLogger(__name__)

_FRUITLESS_TRIES = 5
_TIMEOUT_SECONDS, _LONGEST_WAIT_SECONDS = 60, 30
_BLOCK_BYTES = 1 << 16
_TRY_AGAIN_STATUS = (408, 425, 429, 500, 502, 503, 504)


class NotOnServer(UserError):
    """The server has no such file."""


class _Interrupted(Exception):
    """A failure that may pass by itself; the message says what happened."""


def fetch(url: str, part: Path, wait: Callable[[float], None]) -> None:
    """Download `url` to `part`, going on where `part` ends, again and again while that makes progress.

    wait: called with the seconds to pause before another try. Raises UserError when the server refuses, several tries
    in a row get no further, or `part` cannot be written; NotOnServer when the server has no such file.
    """
    furthest, fruitless = _size(part), 0
    while True:
        try:
            total = _fetch_rest(url, part)
            have = _size(part)
            if total is None or have == total:
                return
            problem = f"{have:,} of {total:,} bytes arrived"
            if have > total:
                _forget(part)
        except _Interrupted as error:
            problem = str(error)
        fruitless = 0 if _size(part) > furthest else fruitless + 1
        furthest = max(furthest, _size(part))
        if fruitless >= _FRUITLESS_TRIES:
            raise UserError(
                f"{url}: {problem}, and {_FRUITLESS_TRIES} tries in a row came no further. Check the network and run "
                "the same command again; it goes on where it stopped."
            )
        pause = min(2.0**fruitless, _LONGEST_WAIT_SECONDS)
        _log.info("%s: %s; next try in %.0f s", part.name.removesuffix(".part"), problem, pause)
        wait(pause)


def _fetch_rest(url: str, part: Path) -> int | None:
    """One request for what `part` lacks. Returns the size of the whole file, None when the server does not say it."""
    have = _size(part)
    headers = {"User-Agent": f"ehr-attack/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as response:
            start, total = _placed(response, have)
            with writing(part), part.open("ab" if start else "wb", buffering=0) as file:
                _copy(response, file, part.name.removesuffix(".part"), start, total)
            return total
    except HTTPError as error:
        return _judge_status(error, url, part)
    except (URLError, OSError, http.client.HTTPException) as error:
        raise _judge_failure(error, url) from error


def _placed(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the body of the response starts in the file, and the size of the file if the server says it."""
    length = response.headers.get("Content-Length", "")
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        if have:
            _log.info("the server does not go on in mid-file; starting afresh")
        return 0, int(length) if length.isdigit() else None
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if span.split("-")[0] != str(have):
        raise _Interrupted("the server sent another part of the file than was asked for")
    return have, int(total) if total.isdigit() else None


def _copy(response: http.client.HTTPResponse, file: BinaryIO, name: str, start: int, total: int | None) -> None:
    label = f"{name} from byte {start:,}" if start else name
    with Progress(label, (total or 0) - start, "bytes") as progress:
        while True:
            try:
                block = response.read(_BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _Interrupted(f"the connection broke ({type(error).__name__})") from error
            if not block:
                return
            rest = memoryview(block)
            while rest:
                rest = rest[file.write(rest) :]
            progress.advance(len(block))


def _judge_status(error: HTTPError, url: str, part: Path) -> int:
    """What an HTTP error status means; returns the file's size when `part` turns out to be complete."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        total = error.headers.get("Content-Range", "").rpartition("/")[2]
        if total == str(_size(part)):
            return int(total)
        _forget(part)
        raise _Interrupted("what had been downloaded is longer than the file")
    if error.code == http.HTTPStatus.NOT_FOUND:
        raise NotOnServer(f"{url}: the server has no such file (HTTP status 404). Check --base-url.") from error
    if error.code in _TRY_AGAIN_STATUS:
        raise _Interrupted(f"the server answered with HTTP status {error.code}") from error
    raise UserError(
        f"{url}: the server refused with HTTP status {error.code} ({error.reason}). Open the address in a browser to "
        "see why, or name a mirror with --base-url."
    ) from error


def _judge_failure(error: Exception, url: str) -> Exception:
    """The exception to raise for a failure below HTTP."""
    cause = error.reason if isinstance(error, URLError) else error
    host = urlsplit(url).hostname
    if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
        return UserError(
            f"{url}: the host {host} is unknown. Check --base-url and that this machine has a network; behind a proxy, "
            "set https_proxy."
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UserError(
            f"{url}: the certificate of {host} cannot be verified. Behind a proxy that re-signs connections, let "
            "SSL_CERT_FILE name its certificate."
        )
    detail = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return _Interrupted(f"no connection to {host} ({detail})")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any OSError of the block, which writes to `path`, into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "no space left on the device. Free some, and run the same command again; it goes on where it stopped"
        else:
            what = f"cannot write here ({error.strerror}). Choose a folder of yours with --to"
        raise UserError(f"{path}: {what}.") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)

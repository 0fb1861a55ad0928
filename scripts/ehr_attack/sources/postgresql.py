"""The connection to a PostgreSQL server: its transaction, the rows that stream through it, and what errors mean.

The address comes from the environment variable EHR_ATTACK_DATABASE_URI and from nowhere else; libpq adds what it
finds in PGPASSFILE, in a service file and so on. Neither it nor any text of the server is ever shown or written.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from adbc_driver_manager import dbapi as adbc
from adbc_driver_postgresql import dbapi as postgresql

from ehr_attack.errors import UserError
from ehr_attack.sources.database_uri import database_uri
from ehr_attack.sources.duck import identifier
from ehr_attack.sources.postgresql_errors import ended_early, not_connected, refused

_log = logging.getLogger(__name__)
_PROGRESS_SECONDS = 15.0
_CONNECT_SECONDS = "30"


@contextmanager
def connected(*, read_only: bool, schemas: Sequence[str] = ()) -> Iterator[Any]:
    """Open a transaction in the database that the environment names; it is undone unless the block commits it.

    schemas: become the search path. Yields an ADBC connection. Raises UserError when there is none to be had.
    """
    uri = database_uri()
    # libpq waits for ever by default; an address may set its own connect_timeout.
    os.environ.setdefault("PGCONNECT_TIMEOUT", _CONNECT_SECONDS)
    try:
        server = postgresql.connect(uri)
    except adbc.Error as error:
        raise not_connected(error) from None
    try:
        with server.cursor() as cursor:
            if read_only:
                cursor.execute("SET TRANSACTION READ ONLY")
            if schemas:
                cursor.execute(f"SET LOCAL search_path TO {', '.join(map(identifier, schemas))}")
        yield server
    except adbc.Error as error:
        raise explained(error, "the database", server) from None
    finally:
        _close(server)


def explained(error: Exception, subject: str, server: Any) -> UserError:
    """What an error of the driver means; subject: what was being read or written. Ends the transaction."""
    if getattr(error, "sqlstate", None):
        return refused(error, subject)
    # The driver says no more than that rows stopped coming; whether the server still answers tells why.
    try:
        server.rollback()
    except adbc.Error:
        return ended_early(subject, connected=False)
    return ended_early(subject, connected=True)


def rows_of(server: Any, query: str) -> list[tuple[Any, ...]]:
    """The rows of a small query."""
    with server.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def watched(batches: pa.RecordBatchReader, label: str, failure: list[Exception]) -> Iterator[pa.RecordBatch]:
    """Pass batches on, log now and then how many rows have come, and keep in `failure` the error that ended them.

    Whoever consumes the batches (DuckDB, the driver) wraps such an error in one of its own.
    """
    start = shown = time.monotonic()
    rows = 0
    try:
        for batch in batches:
            rows += batch.num_rows
            now = time.monotonic()
            if now - shown > _PROGRESS_SECONDS:
                shown = now
                _log.info("%s: %s rows, %s/s", label, f"{rows:,}", f"{rows / (now - start):,.0f}")
            yield batch
    except Exception as error:
        failure.append(error)
        raise


def _close(server: Any) -> None:
    """Roll back and disconnect; a server that has gone away needs neither."""
    try:
        server.close()
    except adbc.Error:
        _log.debug("the connection was gone already")

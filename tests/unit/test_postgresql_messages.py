"""PostgreSQL without a server: what errors mean to a user, and that nothing of their text is passed on."""

import logging
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_attack.errors import UserError
from ehr_attack.sources import postgresql
from ehr_attack.sources.database_uri import URI_VARIABLE, database_uri
from ehr_attack.sources.postgresql_errors import ended_early, not_connected, refused


class ServerError(Exception):
    """An error of the driver, with the code that the server gave."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('FATAL:  password authentication failed for user "u"', "refused the user name or the password"),
        ("fe_sendauth: no password supplied", "refused the user name or the password"),
        ('FATAL:  database "d" does not exist', "no database of that name"),
        ('FATAL:  no pg_hba.conf entry for host "h"', "does not let this user into this database"),
        ('FATAL:  permission denied for database "d"', "does not let this user into this database"),
        ("server does not support SSL, but SSL was required", "the encrypted connection failed"),
        ("FATAL:  sorry, too many clients already", "takes no connections now"),
        ("FATAL:  the database system is starting up", "takes no connections now"),
        ("Connection refused\n\tIs the server running?", "no database server answers"),
        ("timeout expired", "no database server answers"),
        ('invalid integer value "x" for connection option "port"', "cannot be understood"),
        ('definition of service "s" not found', "cannot be understood"),
        ("FATAL:  Datenbank existiert nicht", "Check host, port, user, password and database"),
    ],
)
def test_why_no_connection_came_about(text, words):
    assert words in str(not_connected(ServerError(text)))


@pytest.mark.parametrize(
    ("sqlstate", "words"),
    [
        ("42501", "GRANT SELECT"),
        ("42P01", "no such table"),
        ("42703", "a column is missing"),
        ("42883", "another type"),
        ("22P02", "another type"),
        ("25006", "read only"),
        ("57014", "statement_timeout"),
        ("2BP01", "depend on the table"),
        ("08006", "connection was lost"),
        ("57P01", "connection was lost"),
        ("53100", "ran out of disk space"),
        ("28P01", "refused the user name or the password"),
        ("XX001", "SQLSTATE XX001"),
        (None, "could not do it. Mend"),
        ("'; --", "could not do it. Mend"),
    ],
)
def test_what_a_code_of_the_server_means(sqlstate, words):
    message = str(refused(ServerError("text", sqlstate), "table labevents"))
    assert message.startswith("PostgreSQL: table labevents: ") and words in message


CODES = st.none() | st.from_regex("[0-9A-Z]{5}", fullmatch=True) | st.text(max_size=6)
WORDS = st.sampled_from(["refused", "password authentication failed", "does not exist", "service", "timeout", ""])


@given(words=WORDS, secret=st.text("0123456789", min_size=8), sqlstate=CODES)
def test_no_text_of_the_server_is_passed_on(words, secret, sqlstate):
    error = ServerError(f'{words} "{secret}" LINE 1: SELECT {secret}', sqlstate)
    for message in (not_connected(error), refused(error, "table x"), ended_early("table x", connected=True)):
        assert secret not in str(message) and "SELECT " not in str(message).replace("GRANT SELECT ", "")
        assert "\n" not in str(message)


@pytest.mark.parametrize(
    "uri", ["postgresql://u@h/d", "postgres://h", "host=h dbname=d", "postgresql:///?service=s", "service=s"]
)
def test_every_form_of_address_that_libpq_knows_is_taken(uri, monkeypatch):
    monkeypatch.setenv(URI_VARIABLE, f" {uri}\n")
    assert database_uri() == uri


@pytest.mark.parametrize("uri", ["", "  ", "http://u:secret@h/d", "jdbc:postgresql://u:secret@h/d"])
def test_any_other_address_is_refused_and_not_quoted(uri, monkeypatch):
    monkeypatch.setenv(URI_VARIABLE, uri)
    with pytest.raises(UserError, match=URI_VARIABLE) as caught:
        database_uri()
    assert "secret" not in str(caught.value)


def test_rows_pass_the_watch_unchanged_and_are_counted(caplog, monkeypatch):
    monkeypatch.setattr(postgresql, "_PROGRESS_SECONDS", 0.0)
    batches = [pa.record_batch({"n": list(range(count))}) for count in (3, 0, 1200)]
    failure = []
    with caplog.at_level(logging.INFO):
        passed = list(postgresql.watched(iter(batches), "labevents", failure))
    assert passed == batches and failure == []
    assert "labevents: 1,203 rows, " in caplog.text


def test_the_error_that_ends_the_rows_is_kept():
    def failing():
        yield pa.record_batch({"n": [1]})
        raise OSError("gone")

    failure = []
    with pytest.raises(OSError, match="gone"):
        list(postgresql.watched(failing(), "labevents", failure))
    assert [str(error) for error in failure] == ["gone"]


def test_reading_the_rules_imports_no_driver():
    code = (
        "import sys\nimport ehr_attack.config, ehr_attack.sources.load_command, ehr_attack.sources.database_uri\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0].startswith(('adbc', 'pyarrow', 'duckdb'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

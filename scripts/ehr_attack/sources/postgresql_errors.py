"""What an error of PostgreSQL means to a user, in our words: a server's own text quotes queries, hosts and records.

Nothing here repeats any part of such a text. It is read only where a connection fails, which has no SQLSTATE.
"""

import re

from ehr_attack.errors import UserError
from ehr_attack.sources.database_uri import URI_VARIABLE

_URI = f"{URI_VARIABLE} (postgresql://user@host/database)"
_NOT_CONNECTED = (
    (
        r"password authentication failed|no password supplied|authentication failed|PAM|LDAP",
        "the database server refused the user name or the password. Check both; a password may stand in "
        f"{URI_VARIABLE} (its special characters percent-encoded) or in the file that PGPASSFILE names (mode 0600).",
    ),
    (
        r'database ".*" does not exist',
        f"the server has no database of that name. Name another behind the last slash of {_URI}.",
    ),
    (
        r"no pg_hba\.conf entry|permission denied for database|not permitted to log in",
        "the server does not let this user into this database from this machine. Ask its owner for access "
        "(pg_hba.conf, GRANT CONNECT), or add ?sslmode=require if it asks for encryption.",
    ),
    (
        r"SSL|certificate",
        f"the encrypted connection failed. Check sslmode and the certificates (sslrootcert) that {URI_VARIABLE} names.",
    ),
    (
        r"too many (clients|connections)|connection slots|starting up|shutting down|in recovery",
        "the database server takes no connections now: it is starting, stopping or full. Run this again later, with "
        "fewer jobs at a time (snakemake --cores 2).",
    ),
    (
        r"refused|could not translate host name|timeout|timed out|unreachable|No route|No such file",
        "no database server answers there. Check that it is running, that this machine may reach it (VPN, firewall), "
        f"and the host and port in {_URI}.",
    ),
    (
        r"service|invalid|missing|unexpected|URI",
        f"{URI_VARIABLE} cannot be understood. Expected postgresql://user@host:port/database, or a service of a "
        "service file, postgresql:///?service=<name>; special characters are percent-encoded (@ is %40).",
    ),
)

_LOST = (
    "the connection was lost before all rows had come. Nothing was written. Check that the server is running, and run "
    "this again."
)
_OF_STATE = {
    "42501": "this database user has no permission for it. Ask the owner of the database: GRANT USAGE ON SCHEMA "
    "<schema> and GRANT SELECT ON <table> (load-postgres: GRANT CREATE).",
    "42P01": "there is no such table.",
    "3F000": "there is no such schema.",
    "42703": "a column is missing; its columns must be named as the source names them, in lower case.",
    "42883": "a column has another type than the source publishes (a number or a time as text, for example). Load the "
    "table again with its own types.",
    "25006": "the server allows this user to read only. Use a user that may create tables.",
    "57014": "the server ended the query, probably at a time limit (statement_timeout). Ask for a longer one, or set "
    f"it at the end of {URI_VARIABLE}: ?options=-c%20statement_timeout=0",
    "2BP01": "views or other objects of the database depend on the table, so it was not replaced. Drop them first, or "
    "load into another schema.",
    "22021": "a text holds characters that the database's encoding lacks. Make a database with ENCODING 'UTF8'.",
}
_SAME_AS = {"42804": "42883", "42846": "42883", "42725": "42883", "22P02": "42883", "22007": "42883", "22P05": "22021"}
_OF_CLASS = {
    "08": _LOST,
    "57": _LOST,
    "28": "the server refused the user name or the password.",
    "53": "the server ran out of disk space, memory or connections. Free some there and run this again.",
}


def not_connected(error: Exception) -> UserError:
    """Why no connection came about, as far as the text of libpq tells (a server may speak another language)."""
    for pattern, meaning in _NOT_CONNECTED:
        if re.search(pattern, str(error)):
            return UserError(f"PostgreSQL: {meaning}")
    return UserError(f"PostgreSQL: no connection. Check host, port, user, password and database in {_URI}.")


def refused(error: Exception, subject: str) -> UserError:
    """What an error with an SQLSTATE means; subject: what was being read or written, such as a table."""
    state = getattr(error, "sqlstate", None) or ""
    meaning = _OF_STATE.get(_SAME_AS.get(state, state)) or _OF_CLASS.get(state[:2])
    if meaning is None:
        code = f" (SQLSTATE {state}; the server's log has the details)" if re.fullmatch("[0-9A-Z]{5}", state) else ""
        meaning = f"the database server could not do it{code}. Mend it there and run this again."
    return UserError(f"PostgreSQL: {subject}: {meaning}")


def ended_early(subject: str, connected: bool) -> UserError:
    """What it means that rows stopped coming; connected: whether the server still answers."""
    if not connected:
        return UserError(f"PostgreSQL: {subject}: {_LOST}")
    return UserError(
        f"PostgreSQL: {subject}: the server ended the query before all rows had come: a time limit "
        "(statement_timeout), or a value that it could not read or convert. Nothing was written; "
        "the server's log has the details."
    )

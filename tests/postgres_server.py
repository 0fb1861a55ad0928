"""A PostgreSQL server of the tests' own: in a temporary folder, on loopback, with passwords, stopped at the end.

with running_server() as server:
    server.sql("CREATE DATABASE mimic")
    uri = server.uri("mimic")
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

OWNER, PASSWORD = "owner", "the owner's own p@ss/word"

_START_SECONDS = 60
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off", "max_wal_size=4GB")


@dataclass(frozen=True)
class PostgresServer:
    """A running server; `OWNER` may do everything."""

    folder: Path
    port: int
    process: subprocess.Popen

    def uri(self, database: str = "postgres", user: str = OWNER, password: str | None = PASSWORD) -> str:
        """The libpq URI of a database; without `password`, libpq looks for one elsewhere."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"postgresql://{quote(user)}{secret}@127.0.0.1:{self.port}/{quote(database)}"

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Run statements as the owner with psql; returns what they print, one row a line, columns split by `|`."""
        command = [program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", self.uri(database)]
        done = subprocess.run(command, input=statements, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def log(self) -> str:
        """What the server has logged: every statement, and who connected."""
        return (self.folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """Stop at once, as a power cut would, in the middle of whatever is running."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=60)


def program(name: str) -> str | None:
    """A program of PostgreSQL: from PATH, or the newest of Debian's folders; None when it is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


def is_installed() -> bool:
    """Whether a server can be started here."""
    return all(program(name) for name in ("initdb", "postgres", "psql"))


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server that asks everybody for a password, and stop it at the end."""
    # Not below pytest's folders, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="ehr-attack-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = _unprivileged(folder)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        initdb = [program("initdb"), "-D", folder / "data", "-U", OWNER, "-A", "scram-sha-256", "-E", "UTF8"]
        initdb += ["--locale=C", "--no-sync", f"--pwfile={folder / 'password'}"]
        subprocess.run(initdb, check=True, capture_output=True, **user)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        settings = [*_FAST, "log_statement=all", "log_connections=on", "unix_socket_directories="]
        command = [program("postgres"), "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port)]
        command += [part for setting in settings for part in ("-c", setting)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **user)
        server = PostgresServer(folder, port, process)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)


def _unprivileged(folder: Path) -> dict:
    """What makes a process leave root, as which PostgreSQL refuses to run; that user is given `folder`."""
    if os.geteuid() != 0:
        return {"cwd": folder}
    names = {entry.pw_name for entry in pwd.getpwall()}
    account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"cwd": folder, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _wait_until_ready(server: PostgresServer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while "ready to accept connections" not in server.log():
        assert server.process.poll() is None and time.monotonic() < deadline, server.log()
        time.sleep(0.05)

"""The command line as a user meets it: exit status, one line an error, nothing heavy for `--help`."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from ehr_attack import __version__, cli
from ehr_attack.cli import COMMANDS, main


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "ehr_attack.cli", *arguments],
        env=os.environ | {"EHR_ATTACK_VERBOSE": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `ehr-attack <arguments>`."""
    process = start(*arguments, **environment)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_help_names_every_command_with_examples():
    status, output, _ = run("--help")
    assert status == 0
    words = " ".join(output.split())
    for name, command in COMMANDS.items():
        assert f" {name} {command.summary} " in words
    assert "examples:" in output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name):
    status, output, _ = run(name, "--help")
    assert status == 0
    assert f"usage: ehr-attack {name}" in output and "examples:" in output and f"ehr-attack {name}" in output


def test_version():
    assert run("--version")[:2] == (0, f"ehr-attack {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["estimate", "--help"], ["download-physionet2012", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom ehr_attack.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print('HEAVY:', sorted({'torch', 'pandas', 'numpy', 'duckdb', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY: []" in done.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["no-such-command"], ["estimate", "--no-such-option"], ["download-physionet2012", "--sets", "d"]]
)
def test_wrong_usage_is_status_2(arguments):
    status, _, errors = run(*arguments)
    assert status == 2
    assert "usage: ehr-attack" in errors and "Traceback" not in errors


def test_an_error_is_one_line_and_status_1():
    status, output, errors = run("download-physionet2012", "--base-url", "nowhere")
    assert status == 1 and output == ""
    assert errors == "ehr-attack: --base-url: 'nowhere' is no web address; expected one that starts with https://.\n"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--verbose", "download-physionet2012", "--base-url", "nowhere"], {}),
        (["download-physionet2012", "--verbose", "--base-url", "nowhere"], {}),
        (["download-physionet2012", "--base-url", "nowhere"], {"EHR_ATTACK_VERBOSE": "1"}),
    ],
)
def test_verbose_shows_the_traceback_before_the_line(arguments, environment):
    status, _, errors = run(*arguments, **environment)
    assert status == 1
    assert "Traceback" in errors and "in download_physionet2012" in errors
    assert errors.splitlines()[-1].startswith("ehr-attack: --base-url")


def raising(error: BaseException):
    def run(_):
        raise error

    return run


@pytest.fixture
def failing(monkeypatch):
    """Make the download raise what is given."""
    return lambda error: monkeypatch.setattr("ehr_attack.downloads.run", raising(error))


def test_a_defect_is_named_without_its_message_which_may_quote_records(failing, capsys):
    failing(ValueError("heart_rate 211 of stay 200123"))
    assert main(["download-physionet2012"]) == cli.FAILED
    errors = capsys.readouterr().err
    assert errors.startswith("ehr-attack: unexpected ValueError; this is a defect")
    assert "200123" not in errors and "Traceback" not in errors and errors.count("\n") == 1


def test_a_full_disk_is_no_defect(failing, capsys):
    failing(OSError(28, "No space left on device", "estimate.json"))
    assert main(["download-physionet2012"]) == cli.FAILED
    assert capsys.readouterr().err.startswith("ehr-attack: estimate.json: no space left on the device. Free some")


def test_interrupting_ends_quietly():
    """Ctrl-C while a server keeps the download waiting."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = start("download-physionet2012", "--base-url", f"http://127.0.0.1:{server.getsockname()[1]}/")
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", "")


def test_a_closed_pipe_ends_quietly():
    code = (
        "import sys; from ehr_attack import cli, downloads; "
        "downloads.run = lambda _: [print('line') for _ in range(100_000)]; "
        "sys.exit(cli.main(['download-physionet2012']))"
    )
    command = f'set -o pipefail; {sys.executable} -c "{code}" | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (cli.PIPE_CLOSED, "line\n", "")

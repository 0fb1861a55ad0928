"""What surrounds a job: its log, and the one message that an error ends in."""

import errno
import logging
import os
import subprocess
import sys

import pytest

from ehr_attack import runtime
from ehr_attack.errors import UserError

MISTAKE = UserError("folds.count: too large. Expected less; lower it.")


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """The process' logging and environment are put back after a test."""
    log = logging.getLogger("ehr_attack")
    handlers, propagate, level = list(log.handlers), log.propagate, log.level
    monkeypatch.delenv("EHR_ATTACK_VERBOSE", raising=False)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    yield
    for handler in set(log.handlers) - set(handlers):
        handler.close()
    log.handlers, log.propagate, log.level = handlers, propagate, level


def failed_job(log_file, error, *lines):
    """Run a job that logs `lines` and raises `error`; returns its exit status."""
    with pytest.raises(SystemExit) as ended, runtime.logged(log_file):
        for line in lines:
            logging.getLogger("ehr_attack.training").info(line)
        raise error
    return ended.value.code


def run_python(program):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def test_a_mistake_ends_in_its_message_alone(tmp_path, capsys):
    log_file = tmp_path / "logs" / "folds.log"
    assert failed_job(log_file, MISTAKE, "145 stays") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(" ", 1)[1] for line in printed.err.splitlines()] == ["INFO 145 stays", f"ERROR {MISTAKE}"]
    assert log_file.read_text() == printed.err


def test_a_log_is_begun_anew(tmp_path):
    log_file = tmp_path / "folds.log"
    log_file.write_text("of an earlier run\n")
    failed_job(log_file, MISTAKE)
    assert "earlier" not in log_file.read_text()


def test_the_traceback_of_a_defect_is_in_the_log_only_and_whole(tmp_path, capsys):
    log_file = tmp_path / "train.log"
    failed_job(log_file, ValueError("patient 4711"), "begun")
    log, printed = log_file.read_text(), capsys.readouterr().err
    assert log.splitlines()[0].endswith(" INFO begun")
    assert "Traceback (most recent call last):\n  File" in log
    assert "\nValueError: patient 4711\n" in log
    assert "Traceback" not in printed and "4711" not in printed
    assert f"unexpected ValueError; this is a defect of ehr-attack. The traceback is in {log_file} (" in printed
    assert log.splitlines()[-1] == printed.splitlines()[-1]


@pytest.mark.parametrize("error", [MISTAKE, ValueError("a defect")])
def test_verbose_prints_the_traceback_with_its_causes(error, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EHR_ATTACK_VERBOSE", "1")
    error.__cause__ = KeyError("the cause")
    failed_job(tmp_path / "a.log", error)
    printed = capsys.readouterr().err
    assert printed.count("Traceback (most recent call last)") == 1
    assert "KeyError: 'the cause'" in printed
    assert " ERROR " in printed.splitlines()[-1], "the message comes last"


def test_no_space_names_the_file_and_says_what_to_do(tmp_path, capsys):
    failed_job(tmp_path / "a.log", OSError(errno.ENOSPC, "No space left on device", "results/x/folds.parquet"))
    printed = capsys.readouterr().err
    assert "results/x/folds.parquet: no space left on the device. Expected enough for this run" in printed
    assert "free some space there" in printed


def test_what_a_user_can_mend_and_what_not():
    assert runtime.mendable(MISTAKE) == str(MISTAKE)
    assert "no space left" in runtime.mendable(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert "not enough memory" in runtime.mendable(MemoryError())
    assert "Run snakemake again" in runtime.mendable(KeyboardInterrupt())
    for defect in (ValueError("x"), KeyError("x"), OSError(errno.EIO, "Input/output error")):
        assert runtime.mendable(defect) is None


def printed_by_job(log_file, body):
    """What a process of its own prints to standard error whose job is `body`; no file may grow in it."""
    program = [
        "import logging, pathlib, resource",
        "from ehr_attack import runtime",
        "from ehr_attack.errors import UserError",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))",
        f"with runtime.logged({str(log_file)!r}):",
        *(f"    {line}" for line in body),
    ]
    return run_python("\n".join(program)).stderr


@pytest.mark.parametrize("error", ["UserError('Lower it.')", "ValueError('patient 4711')"])
def test_a_log_that_does_not_fit_leaves_the_message_on_standard_error(error, tmp_path):
    begun, message, *others = printed_by_job(
        tmp_path / "a.log", ["logging.getLogger('ehr_attack').info('begun')", f"raise {error}"]
    ).splitlines()
    assert others == [] or "coverage" in sys.modules, "where coverage is measured, it complains of its own file"
    assert begun.endswith(" INFO begun")
    defect = "unexpected ValueError; this is a defect of ehr-attack. "
    told = f"{defect}{tmp_path}/a.log: no traceback here (File too large); `--verbose` prints it"
    assert ("ERROR Lower it." if "UserError" in error else f"ERROR {told}") in message
    assert (tmp_path / "a.log").read_text() == ""


def test_a_line_that_cannot_be_formatted_is_shown_all_the_same(tmp_path):
    printed = printed_by_job(tmp_path / "a.log", ["logging.getLogger('ehr_attack').info('%d stays', 'many')"])
    assert "Logging error" in printed and "TypeError" in printed


def test_an_interrupted_job_says_so_without_a_traceback(tmp_path, capsys):
    assert failed_job(tmp_path / "a.log", KeyboardInterrupt()) == 1
    printed = capsys.readouterr().err
    assert "ERROR interrupted." in printed and "Traceback" not in printed


def test_a_log_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(SystemExit), runtime.logged(tmp_path / "logs" / "a.log"):
        pytest.fail("the job must not start")
    assert f"ERROR {tmp_path / 'logs'}: cannot write here (" in capsys.readouterr().err


def test_clear_errors_exits_with_the_message(capsys, monkeypatch):
    for verbose in ("", "1"):
        monkeypatch.setenv("EHR_ATTACK_VERBOSE", verbose)
        with pytest.raises(SystemExit) as ended, runtime.clear_errors():
            raise MISTAKE
        assert ended.value.code == f"ehr-attack: {MISTAKE}", "printed to standard error by Python, with status 1"
        assert ("Traceback" in capsys.readouterr().err) == bool(verbose)
    with pytest.raises(ZeroDivisionError), runtime.clear_errors():
        raise ZeroDivisionError


def test_verbosity_reaches_the_jobs_and_the_logging():
    runtime.set_verbosity(False)
    assert "EHR_ATTACK_VERBOSE" not in os.environ and not logging.raiseExceptions
    runtime.set_verbosity(True)
    assert os.environ.pop("EHR_ATTACK_VERBOSE") == "1" and logging.raiseExceptions


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    runtime.check_results_writable(tmp_path / "results" / "small")
    assert list((tmp_path / "results" / "small").iterdir()) == []


@pytest.mark.parametrize("check", [runtime.check_folder, runtime.check_writable])
def test_a_file_or_a_dead_link_is_no_folder(check, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(UserError, match=rf"{name}.*: cannot write here \(.*Expected a folder that this user may"):
            check(tmp_path / name / "small")
    runtime.check_folder(tmp_path / "new" / "small")
    assert not (tmp_path / "new").exists()


def test_a_full_device_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runtime.Path, "write_bytes", full)
    with pytest.raises(OSError) as raised:
        runtime.check_writable(tmp_path / "results")
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(tmp_path / "results")
    assert list((tmp_path / "results").iterdir()) == []


def test_each_folder_of_earlier_results_must_be_writable(tmp_path, monkeypatch):
    locked = tmp_path / "extract" / "staged"
    locked.mkdir(parents=True)
    monkeypatch.setattr(runtime.os, "access", lambda path, mode: str(path) != str(locked))
    with pytest.raises(UserError, match=r"extract/staged: cannot write here \(it is read-only"):
        runtime.check_results_writable(tmp_path)


def test_failures_are_the_last_errors_of_the_logs_of_this_run(tmp_path):
    def log(name, text, time=1000):
        (tmp_path / f"{name}.log").write_text(text)
        os.utime(tmp_path / f"{name}.log", (time, time))

    log("stage_labevents", "10:00:00 INFO reading\n10:00:01 ERROR labs: cut short. Download it again.\n")
    log("extract", "10:00:00 ERROR cohort: none is left:\n  age: 5 excluded\nRelax cohort.min_age_years.\n")
    log("train_0", "10:00:00 INFO a\nTraceback (most recent call last):\n10:00:00 ERROR cuda: none.\n")
    log("train_1", "10:00:09 ERROR cuda: none.\n")
    log("train_2", "10:00:09 ERROR cuda: none.\n")
    log("recovered", "10:00:00 ERROR a first attempt\n10:00:01 INFO done\n")
    log("finished", "10:00:00 INFO holds an ERROR in its text\n")
    log("empty", "")
    log("earlier", "10:00:00 ERROR of another run\n", time=999)
    assert runtime.failures(tmp_path, since=1000) == [
        "extract: cohort: none is left:\n  age: 5 excluded\nRelax cohort.min_age_years.",
        "stage_labevents: labs: cut short. Download it again.",
        "train_0 (and 2 other jobs): cuda: none.",
    ]
    assert runtime.failures(tmp_path / "none", since=0) == []


def test_failures_are_shown_below_everything_else(tmp_path):
    (tmp_path / "folds.log").write_text("10:00:00 ERROR too few. Lower it.\n")
    program = (
        "import pathlib, sys; from ehr_attack import runtime; "
        f"runtime.show_failures(pathlib.Path({str(tmp_path)!r}), since=0); print('Exiting', file=sys.stderr)"
    )
    assert run_python(program).stderr == "Exiting\nehr-attack: folds: too few. Lower it.\n"

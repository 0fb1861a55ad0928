"""A real Slurm of the tests' own: one node, two made-up GPUs, in a temporary folder, on loopback, stopped at the end.

with running_cluster() as cluster:
    subprocess.run(["sbatch", ...], env=os.environ | cluster.environment)
    cluster.jobs()

Nothing of it is in /etc/slurm, where every later start of Snakemake would find a cluster that is gone. Each program
finds the configuration by a wrapper, first on PATH: `SLURM_CONF` would not reach the steps of jobs, from whose
environment the executor plugin takes all such variables.
"""

import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

GPUS = 2
_DAEMONS = ("munged", "slurmctld", "slurmd")
_CLIENTS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "sshare")
_SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
_START_SECONDS, _STOP_SECONDS = 60, 30
# Reads until this process closes its end of the pipe or has died: then the jobs end, and the daemons.
_GUARD = """
read -r _
scancel --user root
looks=0
while [ -n "$(squeue --noheader)" ] && [ $looks -lt 150 ]; do sleep 0.2; looks=$((looks + 1)); done
kill $(cat "$1"/*.pid)
"""
# Of a device file, the number at its end becomes CUDA_VISIBLE_DEVICES; no regular file is taken for a device.
_GRES = """
AutoDetect=off
NodeName={node} Name=gpu Type=fake File={folder}/gpu[0-{last}]
"""
# More CPUs and memory than there are: what is tested is scheduling, and most of a small job is waiting. Without control
# groups and accounting it runs in containers too; `squeue` and `scontrol` remember a job for MinJobAge.
_CONFIG = """
ClusterName=tests
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
MinJobAge=3600
InactiveLimit=0
KillWait=5
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs=8 RealMemory=256000 Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""

Found = TypeVar("Found")


def why_not_submit() -> str | None:
    """Why Snakemake cannot be told to use Slurm; None when it can, with or without a cluster."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "no executor plugin for Slurm (pip install 'ehr-attack[test]')"
    return None


def why_not() -> str | None:
    """Why no cluster can be started here; None when one can."""
    if missing := [name for name in (*_DAEMONS, "sbatch") if not _program(name)]:
        return f"no Slurm: {', '.join(missing)} not installed (apt-get install slurm-wlm munge)"
    return why_not_submit() or (None if os.geteuid() == 0 else "a Slurm for tests is started as root only")


@dataclass(frozen=True)
class SlurmCluster:
    """A running cluster; `environment` holds the variables with which its programs are found."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """What one of its programs prints."""
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def jobs(self, submitted_from: Path | None = None) -> list[dict[str, str]]:
        """All jobs that the scheduler remembers, as `scontrol show job` tells them; of one folder where it is given."""
        lines = [line for line in self.run("scontrol", "show", "job", "-o").splitlines() if "JobId=" in line]
        found = [dict(re.findall(r"(\w+)=(.*?)(?= \w[\w/:]*=|$)", line)) for line in lines]
        return [job for job in found if submitted_from is None or job["WorkDir"] == str(submitted_from)]

    def log(self) -> str:
        """The last that its daemons have said."""
        return "\n".join(f"{name}: {(self.folder / f'{name}.log').read_text()[-800:]}" for name in _DAEMONS)


@contextmanager
def running_cluster() -> Iterator[SlurmCluster]:
    """Start a cluster, and stop it with its jobs at the end. Both end too when this process is killed."""
    with tempfile.TemporaryDirectory(prefix="ehr-slurm-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        cluster = SlurmCluster(folder, {"PATH": f"{folder / 'bin'}:{_SYSTEM_PATH}"})
        _configure(folder)
        key, munge = folder / "munge.key", folder / "munge"
        stack.enter_context(
            _daemon(
                folder, "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}.socket",
                f"--pid-file={munge}.pid", f"--log-file={munge}.syslog", f"--seed-file={munge}.seed",
            )
        )  # fmt: skip
        assert wait_for((folder / "munge.socket").exists, _START_SECONDS), cluster.log()
        config = ("-f", str(folder / "slurm.conf"))
        stack.enter_context(_daemon(folder, "slurmctld", "-D", "-i", *config))
        stack.enter_context(_daemon(folder, "slurmd", "-D", *config))
        stack.enter_context(_guarded(cluster))
        assert wait_for(lambda: _told(cluster, "sinfo", "-h", "-o", "%T") == "idle", _START_SECONDS), cluster.log()
        yield cluster


def wait_for(condition: Callable[[], Found], seconds: float) -> Found | None:
    """What `condition` returns as soon as it is true; None when it is not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.2)
    return None


def _configure(folder: Path) -> None:
    node = socket.gethostname().partition(".")[0]
    # Both held until both are known, lest they are the same.
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [probe.getsockname()[1] for probe in (one, other)]
    for part in ("bin", "state", "spool"):
        (folder / part).mkdir()
    for index in range(GPUS):
        (folder / f"gpu{index}").symlink_to("/dev/null")
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    values = {"node": node, "folder": folder, "controller_port": ports[0], "node_port": ports[1], "gpus": GPUS}
    (folder / "slurm.conf").write_text(_CONFIG.format(**values))
    (folder / "gres.conf").write_text(_GRES.format(node=node, folder=folder, last=GPUS - 1))
    for name in _CLIENTS:
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_program(name)} "$@"\n')
        wrapper.chmod(0o755)


@contextmanager
def _daemon(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    """A daemon in the foreground, ended with the block."""
    command = [str(_program(name)), *arguments]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for the tests: they stop it.
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _guarded(cluster: SlurmCluster) -> Iterator[None]:
    """A process that ends what runs on the cluster, and the cluster: with the block, or with this process."""
    with (cluster.folder / "guard.log").open("w") as log:
        guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(cluster.folder)],
            env=os.environ | cluster.environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        guard.communicate()


def _told(cluster: SlurmCluster, *command: str) -> str:
    """What a program prints, whether or not it fails: the cluster may not be up yet, or not be any more."""
    environment = os.environ | cluster.environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def _program(name: str) -> str | None:
    return shutil.which(name, path=_SYSTEM_PATH)

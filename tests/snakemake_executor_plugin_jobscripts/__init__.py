"""An executor for tests that runs each job as a cluster would: from a job script, kept in $KEPT_JOB_SCRIPTS.

Its settings are those of snakemake-executor-plugin-cluster-generic, which writes what `envvars:` declares into the
scripts. Snakemake finds it by its name on the path: `--executor jobscripts`.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncGenerator

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    """Runs a job script to its end when the job is submitted."""

    def run_job(self, job: JobExecutorInterface) -> None:
        script = self.get_jobscript(job)
        self.write_jobscript(job, script)
        shutil.copy(script, os.environ["KEPT_JOB_SCRIPTS"])
        done = subprocess.run(["bash", script], check=False)
        self.report_job_submission(SubmittedJobInfo(job, aux={"status": done.returncode}))

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            if info.aux["status"]:
                self.report_job_error(info)
            else:
                self.report_job_success(info)
        for nothing_runs_on in ():
            yield nothing_runs_on

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Nothing to cancel: a submitted job has ended."""

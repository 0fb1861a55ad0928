"""A logger for Snakemake that writes each planned job as a line of JSON to the file $EHR_ATTACK_REASONS.

What Snakemake prints names no rule where a rule has a message. Snakemake finds this module by its name on the path:
`--logger reasons`. Nothing but Snakemake imports it.
"""

import json
import os
from logging import LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Keeps what a dry run says of its jobs; all else goes where it always goes."""

    writes_to_stream = False
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record: LogRecord) -> None:
        """Write the record, if it is about a job."""
        told = vars(record)
        # A rule without outputs, such as `all`, makes nothing that could be stale.
        if told.get("event") != LogEvent.JOB_INFO or not told["output"]:
            return
        job = {
            "rule": told["rule_name"],
            "reason": told["reason"],
            "log": [str(file) for file in told["log"]],
            "wildcards": {str(name): str(value) for name, value in dict(told["wildcards"]).items()},
        }
        with Path(os.environ["EHR_ATTACK_REASONS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(job) + "\n")

"""What `ehr-attack screen` and `ehr-attack predict` share on the command line."""

import argparse
from pathlib import Path

RECORDS_HELP = """records of --records: one row a recorded value, as .csv, .csv.gz or .parquet, with the columns
  stay_id   whole number, your own
  hours     since ICU admission; negative before it
  variable  name of a variable of the run, such as creatinine
  value     in the variable's unit; outside its plausible range it is refused
and perhaps: unit (checked), hours_observable (hours of the window before a stay's end; the whole window by default).
--template FILE writes an example with the run's variables and units."""


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which run, which of its models, and which stays."""
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="a finished run, as results/demo")
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument(
        "--stay", type=_stay_id, nargs="+", metavar="ID",
        help="stays of the run; each is judged by the model of the fold that held it out",
    )  # fmt: skip
    sources.add_argument("--all-held-out", action="store_true", help="every stay of the run that a fold held out")
    sources.add_argument(
        "--records", type=Path, metavar="FILE",
        help="new records, judged by the mean logit of the models of all folds; see below",
    )  # fmt: skip
    sources.add_argument("--template", type=Path, metavar="FILE", help="write an example for --records, and stop")
    parser.add_argument(
        "--shard", type=_shard, metavar="I/N",
        help="every N-th of these stays, from the I-th on: for N calls, each with its own --out, as on a cluster",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="a model of the run, such as lstm (default: its first)")
    parser.add_argument("--seed", type=int, metavar="S", help="its seed (default: the run's first)")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto",
        help="default auto: a GPU if there is one; on a CPU the same call gives the same bytes",
    )  # fmt: skip


def _stay_id(text: str) -> int:
    """The type of an argument that is the id of a stay."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no id of a stay, a whole number below 2^63")
    return number


def _shard(text: str) -> tuple[int, int]:
    """The type of an argument I/N: the index, from 0, and the number of shards."""
    first, _, second = text.partition("/")
    index, count = int(first), int(second)
    if not 1 <= index <= count:
        raise argparse.ArgumentTypeError(f"{text} is no I/N with I from 1 to N, such as 2/8")
    return index - 1, count

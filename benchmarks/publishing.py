"""What the benchmarks share: the machine in words, the targets, and where the numbers and the table are written."""

import argparse
import datetime
import os
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ehr_attack.storage import write_json, write_text

FOLDER = Path(__file__).resolve().parent


def parser_with_rounds(doc: str | None, rounds: int, measured: str) -> argparse.ArgumentParser:
    """The arguments of a benchmark whose rounds are chosen. doc: of its module; measured: what a round measures."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md and results/")
    parser.add_argument("--rounds", type=_at_least_one, default=rounds, help=f"how often {measured} is measured")
    return parser


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return int(text)


def machine() -> dict[str, Any]:
    """The processor's name, the cores that this process may use, and the memory in GB."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cpu": names[0] if names else "unknown processor",
        "cores": len(os.sched_getaffinity(0)),
        "ram_gb": round(ram, 1),
    }


def measured_on(load_before: float, packages: Iterable[str]) -> dict[str, Any]:
    """What a result tells of how it came about: the machine, its load before and now, the date and the versions."""
    return {
        "machine": machine(),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: version(name) for name in packages},
    }


def circumstances(result: dict[str, Any]) -> str:
    """`result`'s date, machine and load, as the table's heading tells them."""
    described = result["machine"]
    return (
        f"{result['date']}, {described['cpu']}, {described['cores']} cores, {described['ram_gb']:.0f} GB; load before "
        f"the run {result['load_before']:g}, after it {result['load_after']:g}"
    )


def versions_text(result: dict[str, Any]) -> str:
    """The packages of `result` with their versions."""
    return ", ".join(f"{name} {number}" for name, number in result["versions"].items())


def judged(asked: Iterable[tuple[str, str, bool]]) -> list[dict[str, Any]]:
    """Targets as plain values: what was asked, what was measured, and whether it is met."""
    return [{"target": target, "measured": value, "met": met} for target, value, met in asked]


def target_lines(result: dict[str, Any]) -> list[str]:
    """The targets as lines of a Markdown table."""
    return [
        "| target | measured | |",
        "| --- | --- | --- |",
        *(f"| {t['target']} | {t['measured']} | {'met' if t['met'] else 'MISSED'} |" for t in result["targets"]),
    ]


def publish(name: str, result: dict[str, Any], lines: list[str], folder: Path) -> None:
    """Write `result` to results/<name>.json, print the table and put it between <name>'s markers of README.md."""
    write_json(result, folder / "results" / f"{name}.json")
    table = "\n".join(lines)
    print(table)
    readme, begin, end = folder / "README.md", f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = readme.read_text(encoding="utf-8").partition(begin)
    write_text(f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}", readme)

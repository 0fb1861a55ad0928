"""A run of 60,000 stays x 25 lambdas is analysed within 2 GB of memory (some minutes, and 1.5 GB of disk)."""

from benchmarks.susceptibility import LARGE_STAYS, MEMORY_GB, measure_in_a_process, prepare


def test_sixty_thousand_stays_are_analysed_within_two_gigabytes(tmp_path):
    made = prepare(tmp_path / "large", LARGE_STAYS)
    assert made["rows"] == 25 * 60_000 and made["changes"] > 50e6
    assert measure_in_a_process("whole", tmp_path / "large")["peak_mb"] < 1e3 * MEMORY_GB

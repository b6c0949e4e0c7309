"""Counts what the exercise tests covered, for the closing line; works under xdist too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the planted answers are modules beside the tests

KINDS = ("solutions", "stubs", "planted wrong answers", "alternatives")
_totals = dict.fromkeys(KINDS, 0)


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        for kind in [value for name, value in report.user_properties if name == "exercise test"]:
            _totals[kind] += 1


def pytest_terminal_summary(terminalreporter):
    if any(_totals.values()):
        counts = ", ".join(f"{count} {kind}" for kind, count in _totals.items())
        terminalreporter.write_line(f"exercises: {counts}")

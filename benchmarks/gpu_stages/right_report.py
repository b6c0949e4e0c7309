"""A plugin of pytest: one line of JSON for each test as it ends, into the file that GPU_DAY_TESTS names."""

import json
import os
from typing import Any


def pytest_runtest_logreport(report: Any) -> None:
    """Write the line; of several workers' reports, the controller writes."""
    if "PYTEST_XDIST_WORKER" in os.environ or (report.passed and report.when != "call"):
        return
    check = report.nodeid.rpartition("/")[2]
    row: dict[str, Any] = {"check": check, "ok": bool(report.passed), "seconds": round(report.duration, 2)}
    if report.skipped:
        del row["ok"]
        row["skipped"] = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        row["why"] = str(crash.message if crash else report.longrepr).strip()[:500]
    with open(os.environ["GPU_DAY_TESTS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")

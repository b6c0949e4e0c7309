"""A pytest plugin for the grading run: reports say which exercise a cell is, and what is no real pass."""

import os
import signal
import sys
from collections.abc import Generator
from typing import Any

import pytest
from ipykernel import kernelspec

from moe_lessons.grade import lifeline

_PROPERTIES = ("learner", "exercise", "points")


def pytest_configure() -> None:
    """Whatever ends the grader ends this process, and this process its kernel."""
    if "MOE_LESSONS_PARENT" not in os.environ:
        return
    lifeline.die_with_parent(int(os.environ["MOE_LESSONS_PARENT"]))
    os.environ["MOE_LESSONS_PARENT"] = str(os.getpid())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    described = kernelspec.get_kernel_dict

    def ours(*args: Any, **options: Any) -> dict[str, Any]:
        argv = [sys.executable, "-P", "-s", "-m", "moe_lessons.grade.kernel", "-f", "{connection_file}"]
        return {**described(*args, **options), "argv": argv}

    kernelspec.get_kernel_dict = ours


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Learner, exercise and points of each cell become properties of its report, and of the JUnit file."""
    for item in items:
        about = getattr(item, "cell", {}).get("metadata", {}).get("moe_lessons", {})
        item.user_properties += [(name, about[name]) for name in _PROPERTIES if name in about]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """After a cell that ran out of time nbval lets the later ones pass or fail unseen: mark those."""
    report = yield
    if hasattr(report, "wasxfail"):
        report.user_properties.append(("unseen", "after a cell that ran out of time"))
    return report

"""Every pytest run keeps its course progress to itself, notebooks under nbval included."""

import gc
import importlib.util
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, so that a change is to blame for a failure and not the draw; no deadline, so
# that a busy machine is not. To search further: pytest --hypothesis-profile=default
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repeatable")

_home = tempfile.TemporaryDirectory(prefix="moe-lessons-")
os.environ["MOE_LESSONS_HOME"] = _home.name
os.environ["MOE_LESSONS_CACHE"] = os.path.join(_home.name, "cache")
# The interpreter's own ipython folder must not decide what a notebook prints.
os.environ["IPYTHONDIR"] = os.path.join(_home.name, "ipython")

# Triton exists for Linux only; without it the modules that hold kernels can't be imported for their examples.
if importlib.util.find_spec("triton") is None:
    collect_ignore_glob = ["moe_lessons/kernels/*.py"]

MEASURED = Path(__file__).parent / "tests" / "lessons" / "measured.cfg"


def pytest_configure(config):
    """Compare solutions without the numbers that `measured` prints, whoever starts nbval and how."""
    if getattr(config.option, "nbval_sanitize_with", MEASURED) is None:
        config.option.nbval_sanitize_with = str(MEASURED)


NOT_RUN = Path(__file__).parent / ".pytest_cache" / "not_run.txt"
"""What runs skipped, and why; `make test` empties it first and ends with it."""


@pytest.fixture
def within():
    """Hold seconds to a budget, where STRICT_TIMING asks for it: a busy machine proves nothing."""

    def check(seconds, budget):
        assert not os.environ.get("STRICT_TIMING") or seconds < budget

    return check


@pytest.fixture(autouse=True, scope="session")
def doctest_imports(doctest_namespace):
    """Examples may say `torch.tensor(...)`, in modules that import only parts of torch too."""
    doctest_namespace["torch"] = pytest.importorskip("torch")


@pytest.fixture(autouse=True, scope="module")
def progress_of_its_own(tmp_path_factory):
    """What one module's tests or examples pass is not passed for the next one's: their order is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_LESSONS_HOME", str(tmp_path_factory.mktemp("progress")))
        patch.setattr("moe_lessons.course.store._unsaved", None)
        patch.setattr("moe_lessons.course.store._apart", False)
        yield


@pytest.fixture(autouse=True, scope="module")
def triton_stays_as_it_is():
    """Judging a kernel chooses Triton's interpreter for the whole process: not for the modules after it."""
    before = os.environ.get("TRITON_INTERPRET")
    yield
    os.environ.pop("TRITON_INTERPRET", None)
    if before is not None:
        os.environ["TRITON_INTERPRET"] = before


@pytest.fixture(autouse=True, scope="module")
def leaves_nothing_open():
    """A socket or file that a module's tests leave open warns when it is collected: let that be here.

    Otherwise the warning, which is an error, would strike a test of whichever module runs next. So would a
    progress that was kept apart, as a solutions notebook keeps it: nothing is locked then.
    """
    yield
    gc.collect()
    if store := sys.modules.get("moe_lessons.course.store"):
        store._apart = False


def pytest_collection_finish():
    """What is there before the first test stays: later collections pass over it.

    It is every test and every module, and `leaves_nothing_open` collects after the tests of each.
    """
    gc.collect()
    gc.freeze()


LONGEST = (
    "tests/exercises/test_exercises.py",
    "tests/lessons/test_lessons.py",
    "tests/grade/test_class.py",
    "tests/hostile/",
    "tests/grade/",
    "tests/lessons/",
    "tests/own/",
)


def pytest_collection_modifyitems(items):
    """The longest files first: begun last, they would keep one core busy while the others have nothing."""

    def rank(item):
        found = (n for n, start in enumerate(LONGEST) if item.nodeid.startswith(start))
        return next(found, len(LONGEST))

    items.sort(key=rank)


def pytest_terminal_summary(terminalreporter):
    """Name what was skipped and why, once for each reason, where `-q` would give no more than a number."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "?"
        for report in terminalreporter.stats.get("skipped", [])
    )
    lines = [f"not run: {n} x {reason}" for reason, n in skipped.most_common()]
    for line in lines:
        terminalreporter.write_line(line)
    try:
        NOT_RUN.parent.mkdir(exist_ok=True)
        with NOT_RUN.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError:
        pass  # a checkout that cannot be written still has the lines above


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail where a skip's reason names something that MUST_HAVE says this machine has (CI sets it)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    reasons = " ".join(str(report.longrepr) for report in reporter.stats.get("skipped", []))
    lacking = [word for word in os.environ.get("MUST_HAVE", "").split() if word in reasons]
    if lacking and not session.exitstatus:
        reporter.write_line(f"tests were skipped for lack of what MUST_HAVE names: {lacking}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""Every pytest run keeps its course progress to itself, notebooks under nbval included."""

import importlib.util
import os
import tempfile

import hypothesis
import pytest

# The same examples in every run, so that a change is to blame for a failure and not the draw.
# To search further: pytest --hypothesis-profile=default
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

_home = tempfile.TemporaryDirectory(prefix="moe-lessons-")
os.environ["MOE_LESSONS_HOME"] = _home.name
os.environ["MOE_LESSONS_CACHE"] = os.path.join(_home.name, "cache")
# The interpreter's own ipython folder must not decide what a notebook prints.
os.environ["IPYTHONDIR"] = os.path.join(_home.name, "ipython")

# Triton exists for Linux only; without it the modules that hold kernels can't be imported for their examples.
if importlib.util.find_spec("triton") is None:
    collect_ignore_glob = ["moe_lessons/kernels/*.py"]


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

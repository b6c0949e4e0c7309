"""Every pytest run keeps its course progress to itself, notebooks under nbval included."""

import os
import tempfile

import pytest

_home = tempfile.TemporaryDirectory(prefix="moe-lessons-")
os.environ["MOE_LESSONS_HOME"] = _home.name
# The interpreter's own ipython folder must not decide what a notebook prints.
os.environ["IPYTHONDIR"] = os.path.join(_home.name, "ipython")


@pytest.fixture(autouse=True, scope="session")
def doctest_imports(doctest_namespace):
    """Examples may say `torch.tensor(...)`, in modules that import only parts of torch too."""
    doctest_namespace["torch"] = pytest.importorskip("torch")

"""A lesson alone in an empty folder, the course installed from a wheel: how Colab sees it."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.exercises import registry

RUN = """
import moe_lessons, nbformat, nbclient
assert moe_lessons.__file__.startswith({site!r}), moe_lessons.__file__
ran = nbclient.NotebookClient(nbformat.read({notebook!r}, as_version=4), timeout=900).execute()
print("".join(o.get("text", "") for c in ran.cells for o in c.get("outputs", [])))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's content in a folder of its own, far from the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, paths.ROOT]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, built], check=True, capture_output=True)
    return site


@pytest.mark.parametrize(
    "lesson", ["00_start_here", "03_counting", pytest.param("01_router", marks=pytest.mark.slow)]
)
def test_runs_alone(lesson, installed, tmp_path):
    notebook = tmp_path / f"{lesson}.ipynb"
    notebook.write_bytes((paths.NOTEBOOKS / notebook.name).read_bytes())
    run = RUN.format(site=str(installed), notebook=str(notebook))
    env = {**os.environ, "PYTHONPATH": str(installed), "MOE_LESSONS_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", run], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Lesson {lesson[:2]}: 0 of {registry.lesson(lesson).points} points" in done.stdout


@pytest.mark.parametrize("lesson", registry.lessons(), ids=lambda lesson: lesson.id)
def test_the_first_cell_fetches_the_course_and_leaves_torch(lesson):
    """The cell installs only where the course is missing, without dependencies."""
    built = nbformat.read(paths.NOTEBOOKS / f"{lesson.id}.ipynb", as_version=4)
    (fetch,) = (c for c in built.cells if "fetch" in c.metadata.get("tags", []))
    assert 'find_spec("moe_lessons") is None' in fetch.source
    assert f'%pip install --quiet --no-deps "git+https://github.com/{paths.slug()}"' in fetch.source
    assert "torch" not in fetch.source.split("%pip", 1)[1].split("\n")[0]


WITHOUT = """
import importlib.util, sys
from IPython.core.interactiveshell import InteractiveShell
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {lacking!r} else found(name)
shell = InteractiveShell.instance()
shell.register_magic_function(lambda line: print("fetching", line), "line", "pip")
sys.exit(0 if shell.run_cell({cell!r}).success else 3)
"""


@pytest.mark.parametrize("lacking", [["moe_lessons"], ["torch"], ["moe_lessons", "torch"]])
def test_where_the_course_cannot_be_fetched_three_sentences_help(lacking, tmp_path):
    built = nbformat.read(paths.NOTEBOOKS / "01_router.ipynb", as_version=4)
    (fetch,) = (c for c in built.cells if "fetch" in c.metadata.get("tags", []))
    env = {**os.environ, "IPYTHONDIR": str(tmp_path), "MOE_LESSONS_HOME": str(tmp_path / "home")}
    script = WITHOUT.format(lacking=lacking, cell=fetch.source)
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert ran.returncode == 3, ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    *fetched, missing, whole, again = ran.stdout.splitlines()
    assert len(fetched) == ("moe_lessons" in lacking)
    assert f"{' and '.join(lacking)} could not be found" in missing
    assert paths.slug() in whole
    assert "run this cell again" in again


def test_binder_pins_what_the_course_pins():
    """Binder ignores the root's requirements: its own file must say the same, with a CPU torch."""

    def pins(path):
        lines = [line.split(";")[0].strip() for line in path.read_text().splitlines()]
        return {line for line in lines if line and not line.startswith(("#", "--"))}

    binder = pins(paths.ROOT / "binder" / "requirements.txt")
    assert {pin.removesuffix("+cpu") for pin in binder} == pins(paths.ROOT / "requirements.txt")
    assert any(pin.startswith("torch==") and pin.endswith("+cpu") for pin in binder)
    settings = json.loads((paths.ROOT / "binder" / "overrides.json").read_text())
    kernels = settings["@jupyterlab/apputils-extension:kernels-settings"]
    assert kernels["commsOverSubshells"] == "disabled"

"""A lesson alone in an empty folder, the course installed from a wheel: how Colab sees it."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from moe_lessons.build import paths
from moe_lessons.build.first_cell import first_cell
from moe_lessons.build.render import notebook
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
def test_the_first_cell_fetches_the_course(lesson):
    built = notebook(paths.LESSONS / f"{lesson.id}.py", solutions=False)
    (fetch,) = (c for c in built.cells if "fetch" in c.metadata.get("tags", []))
    assert fetch.source == first_cell().source
    places = [built.cells.index(c) for c in built.cells if "setup" in c.metadata.get("tags", [])]
    assert places[0] == built.cells.index(fetch) + 1


# Runs the first cell where only what `can` names is there, and pip is the one below.
ELSEWHERE = """
import importlib.util, sys
from IPython.core.interactiveshell import InteractiveShell
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {hidden!r} else find(name)
shell = InteractiveShell.instance()
before = set(shell.user_ns)
ran = shell.run_cell({cell!r})
assert set(shell.user_ns) - before <= {{"fetch", "_i", "_ii", "_iii", "_i1"}}, set(shell.user_ns) - before
sys.exit(0 if ran.success else 3)
"""

PIP = """
import pathlib, sys
what = [one for one in sys.argv[1:] if not one.startswith("--")]
with open({log!r}, "a") as log:
    print(*sys.argv[1:], file=log)
for one in what[3:]:
    name = "moe_lessons" if "moe" in one else one
    if not any(word in one for word in {can!r}):
        sys.exit("error: a child's\\n  ERROR: cannot fetch " + one + ".\\nnote: not a problem with pip.")
    pathlib.Path({site!r}, name + ".py").touch()
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Runs the first cell with a pip that can install some things; returns code, lines, pip's calls."""

    def elsewhere(*, pip=(), has=(), hidden=(), torch="2.13.0"):
        site, log = tmp_path / "site", tmp_path / "log"
        (site / "pip").mkdir(parents=True)
        (site / "pip" / "__init__.py").touch()
        fake = PIP.format(log=str(log), can=tuple(pip or ()), site=str(site))
        missing = 'import sys\nsys.exit("No module named pip")'
        (site / "pip" / "__main__.py").write_text(missing if pip is None else fake)
        for name in has:
            (site / f"{name}.py").touch()
        (site / "torch.py").touch()
        (site / "torch-0.dist-info").mkdir()
        (site / "torch-0.dist-info" / "METADATA").write_text(f"Name: torch\nVersion: {torch}\n")
        # Without the .pth files of site-packages, the course, installed in place, is not there.
        beside = [path for path in sys.path if path.endswith("site-packages")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *beside]), "IPYTHONDIR": str(tmp_path)}
        script = ELSEWHERE.format(hidden=tuple(hidden), cell=first_cell().source)
        command = [sys.executable, "-S", "-c", script]
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert "Traceback" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
        calls = log.read_text().splitlines() if log.exists() else []
        return ran.returncode, ran.stdout.splitlines(), calls

    return elsewhere


def test_a_released_wheel_comes_first_and_without_dependencies(elsewhere):
    rc, lines, calls = elsewhere(pip=("releases/download",))
    assert (rc, lines) == (0, ["Fetching the course ..."])
    assert len(calls) == 1
    assert f"--no-deps https://github.com/{paths.slug()}/releases/download/v" in calls[0]


def test_the_repository_comes_second(elsewhere):
    rc, lines, calls = elsewhere(pip=("git+",))
    assert (rc, lines) == (0, ["Fetching the course ..."])
    assert calls[1].endswith(f"--no-deps git+https://github.com/{paths.slug()}")


def test_what_else_is_missing_is_fetched_but_never_torch(elsewhere):
    rc, _, calls = elsewhere(pip=("git+", "anywidget", "rich"), hidden=("anywidget",))
    assert rc == 0
    assert calls[2].endswith(" anywidget")
    assert "torch" not in " ".join(calls)


def test_a_folder_of_its_name_is_not_the_course(elsewhere, tmp_path):
    (tmp_path / "moe_lessons" / "notes").mkdir(parents=True)
    assert elsewhere(pip=("git+",))[:2] == (0, ["Fetching the course ..."])


def test_where_the_course_is_there_pip_is_left_alone(elsewhere):
    assert elsewhere(pip=None, has=("moe_lessons",)) == (0, [], [])


@pytest.mark.parametrize(("pip", "why"), [((), "ERROR: cannot fetch git+"), (None, "No module named pip")])
def test_where_the_course_cannot_be_fetched_three_sentences_help(pip, why, elsewhere):
    """No network, or no pip."""
    rc, lines, _ = elsewhere(pip=pip)
    assert rc == 3
    _, missing, whole, again = lines
    assert missing.startswith("The course is not installed here and could not be fetched")
    assert why in missing
    assert paths.slug() in whole
    assert "make lab" in whole
    assert "run this cell again" in again


def test_where_a_need_cannot_be_fetched_it_is_named(elsewhere):
    rc, lines, _ = elsewhere(pip=("git+",), hidden=("platformdirs",))
    assert rc == 3
    assert lines[1].startswith(
        "The course is here, but not platformdirs, which it needs (ERROR: cannot fetch"
    )
    assert lines[2].startswith("Run `%pip install platformdirs`")


def test_a_missing_torch_is_one_sentence(elsewhere):
    rc, lines, calls = elsewhere(hidden=("torch", "moe_lessons"))
    assert (rc, calls) == (3, [])
    assert lines == ["PyTorch is missing here: run `%pip install torch`, then this cell again."]


@pytest.mark.parametrize(("here", "said"), [("2.9.1+cu126", True), ("2.11.0", False), ("3.0.0", False)])
def test_a_torch_that_is_too_old_is_named(here, said, elsewhere):
    rc, lines, _ = elsewhere(has=("moe_lessons",), torch=here)
    assert rc == 0
    assert len(lines) == said
    assert all(
        line.startswith(f"torch {here} is older than 2.11, which this course needs: ") for line in lines
    )


def test_the_wheel_brings_the_settings_that_saved_pictures_need(installed):
    """A picture that was left alive is there the next morning, in an environment that `make` never saw."""
    (wheel,) = installed.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        inside = files.namelist()
        (settings,) = (name for name in inside if name.endswith("lab/settings/overrides.d/moe-lessons.json"))
        brought = json.loads(files.read(settings))
    assert brought["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}
    here = json.loads((paths.ROOT / "binder" / "overrides.json").read_text(encoding="utf-8"))
    assert brought.items() <= here.items()
    assert not [name for name in inside if name.endswith(".webp")]
    assert "moe_lessons/results/fine32.safetensors" in inside  # lessons read it where no repository is


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

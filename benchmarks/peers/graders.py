"""nbgrader and otter-grader on our notebooks: the same answers, judged by the same checks, in their way.

Their way is to run the notebook, checks included, in one kernel: no sandbox, and what the lesson computes is
computed again. So each is timed twice: on the notebook as handed in, and on its answers and checks alone.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moe_lessons.exercises import registry

LIMIT_S = 900
_IMPORTS = "import math\nimport numpy as np\nimport torch\nimport torch.nn.functional as F"
_JUDGE = """\
from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import judge, local
"""
_CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "moe"
c.ExecutePreprocessor.timeout = 300
c.IncludeHeaderFooter.header = ""
c.ClearSolutions.enforce_metadata = False
"""

Content = dict[str, Any]
Commands = list[tuple[Path, list[str]]]
"""Folders, and what to run there with the peers' Python."""
Prepared = tuple[Commands, Callable[[], float]]
"""What is timed, and how many points came of it."""


def measure(python: Path | None, notebooks: dict[str, str], folder: Path) -> dict[str, Any]:
    """Seconds per notebook and points for each grader, or why there are none.

    Parameters
    ----------
    python : Path, optional
        Of an environment that holds nbgrader, otter-grader, and all that the course needs.
    notebooks : dict
        What one learner handed in: file names and content.
    folder : Path
        Where to work.
    """
    prepares = {"nbgrader": _nbgrader, "otter-grader": _otter}
    found: dict[str, Any] = {}
    for name, prepare in prepares.items():
        version = _version(python, name)
        if python is None or version is None:
            found[name] = "not measured: " + (f"{name} is not installed" if python else "no --peers-python")
            continue
        found[name] = {"version": version}
        for kind, content in (("whole", _whole(notebooks)), ("answers_only", _answers_only(notebooks))):
            place = folder / name / kind
            place.mkdir(parents=True)
            try:
                found[name][kind] = _timed(python, *prepare(python, content, place), len(notebooks))
            except (subprocess.SubprocessError, OSError, LookupError) as error:
                said = str(getattr(error, "stderr", None) or error)
                found[name][kind] = {"failed": said.strip().splitlines()[-1][:200]}
    return found


def _timed(python: Path, commands: Commands, points: Callable[[], float], count: int) -> dict[str, Any]:
    began = time.perf_counter()
    for place, words in commands:
        _run(python, place, words)
    seconds = time.perf_counter() - began
    return {"seconds_per_notebook": round(seconds / count, 2), "points": round(points())}


def _whole(notebooks: dict[str, str]) -> dict[str, Content]:
    """Each notebook with a test where its checks were."""
    found = {}
    for name, text in notebooks.items():
        content = json.loads(text)
        content["cells"] = [_with_test(cell) for cell in content["cells"]]
        found[name] = content
    return found


def _answers_only(notebooks: dict[str, str]) -> dict[str, Content]:
    found = _whole(notebooks)
    for content in found.values():
        kept = [cell for cell in content["cells"] if _about(cell, "answer") or _about(cell, "check")]
        content["cells"] = [{**kept[0], "id": "imports", "metadata": {}, "source": _IMPORTS}, *kept]
    return found


def _with_test(cell: Content) -> Content:
    id = _about(cell, "check")
    if id is None:
        return cell
    exercise = registry.exercise(id)
    about = {"grade": True, "solution": False, "locked": True, "task": False, "schema_version": 3}
    about |= {"grade_id": _name(id), "points": exercise.points, "cell_type": "code"}
    metadata = {"nbgrader": about, "moe_lessons": {"check": id}}
    return {**cell, "metadata": metadata, "source": f"{_JUDGE}assert {_verdict(id)} == 'passed'"}


def _verdict(id: str) -> str:
    return f"judge(registry.exercise({id!r}), local({registry.exercise(id).entry}), seed=1).status"


def _name(id: str) -> str:
    return id.replace(".", "-")  # both allow fewer characters than we use


def _about(cell: Content, key: str) -> str | None:
    return cell["metadata"].get("moe_lessons", {}).get(key)


def _nbgrader(python: Path, content: dict[str, Content], place: Path) -> Prepared:
    """Autograde and feedback, as an instructor does."""
    (place / "nbgrader_config.py").write_text(_CONFIG)
    for root in ("source/one", "submitted/ada/one"):
        (place / root).mkdir(parents=True)
        for name, notebook in content.items():
            (place / root / name).write_text(json.dumps(notebook))
    _run(python, place, ["-m", "nbgrader", "generate_assignment", "one"])

    def points() -> float:
        _run(python, place, ["-m", "nbgrader", "export", "--to=grades.csv"])
        names, values = (place / "grades.csv").read_text().splitlines()
        return float(dict(zip(names.split(","), values.split(","), strict=True))["score"])

    return [(place, ["-m", "nbgrader", step, "one"]) for step in ("autograde", "generate_feedback")], points


def _otter(python: Path, content: dict[str, Content], place: Path) -> Prepared:
    """One autograder and one run for each notebook."""
    commands = []
    for name, notebook in content.items():
        mine = place / name.removesuffix(".ipynb")
        (mine / "tests").mkdir(parents=True)
        for cell in notebook["cells"]:
            if id := _about(cell, "check"):
                (mine / "tests" / f"{_name(id)}.py").write_text(_ok_test(id))
        (mine / name).write_text(json.dumps(notebook))
        _run(python, mine, ["-m", "otter", "generate", "-t", "tests", "-o", "autograder.zip"])
        commands.append((mine, ["-m", "otter", "run", "-a", "autograder.zip", "--no-logo", name]))

    def points() -> float:
        results = [json.loads((mine / "results.json").read_text()) for mine, _ in commands]
        return sum(test.get("score", 0.0) for graded in results for test in graded["tests"])

    return commands, points


def _ok_test(id: str) -> str:
    lines = [f">>> {line}" for line in [*_JUDGE.splitlines(), _verdict(id)]]
    case = {"code": "\n".join([*lines, "'passed'"]), "hidden": False, "locked": False}
    suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
    test = {"name": _name(id), "points": registry.exercise(id).points, "suites": [suite]}
    return f"OK_FORMAT = True\n\ntest = {test!r}\n"


def _run(python: Path, place: Path, words: list[str]) -> None:
    environment = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "MOE_LESSONS_HOME": str(place / "progress"),
        "JUPYTER_CONFIG_DIR": str(place / "jupyter"),
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),  # one notebook at a time has all cores
    }
    options: dict[str, Any] = {"check": True, "capture_output": True, "text": True, "timeout": LIMIT_S}
    subprocess.run([python, *words], cwd=place, env=environment, **options)


def _version(python: Path | None, name: str) -> str | None:
    if python is None:
        return None
    asked = f"import importlib.metadata as m; print(m.version({name!r}))"
    ran = subprocess.run([python, "-c", asked], capture_output=True, text=True)
    return ran.stdout.strip() or None


if __name__ == "__main__":
    sys.exit("run benchmarks/grading.py --peers-python PATH")

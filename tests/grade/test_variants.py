"""Honest variants of right answers: all points, and ``check`` and the grader agree on every one."""

import contextlib
import io
import json
import re

import pytest
import variants
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell

from moe_lessons.commands.cli import main
from moe_lessons.grade import sandbox

POINTS = variants.LESSON.points
IDS = [exercise.id for exercise in variants.LESSON.exercises]
ALL = {**variants.CHANGES, **variants.REFUSED}
# Nothing hangs on the sandbox here but what it shows; without one, the same class runs without.
HOW = () if sandbox.problem() is None else ("--unsafe-no-sandbox",)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    for number, change in enumerate(ALL.values()):
        (folder / "class" / f"v{number:02}").mkdir(parents=True)
        path = folder / "class" / f"v{number:02}" / "01.ipynb"
        path.write_text(variants.text(change), encoding="utf-8")
    ran = CliRunner().invoke(
        main, ["grade", str(folder / "class"), "--out", str(folder / "out"), "--seed", "5", *HOW]
    )
    assert ran.exit_code == 0, ran.output
    learners = json.loads((folder / "out" / "results.json").read_text())["learners"]
    return dict(zip(ALL, learners, strict=True))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What a cell writes into its folder, it writes there."""
    monkeypatch.chdir(tmp_path)


class Shell(InteractiveShell):
    """IPython without a screen."""

    def enable_gui(self, gui=None):
        """Nothing to enable."""


def checked(content):
    """What each check in a notebook prints, cells run from the first to the last."""
    shell = Shell.instance()
    shell.reset(new_session=True)
    shell.history_manager.reset()
    shell.execution_count = 1
    shell.user_ns["__name__"] = "__main__"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        for cell in content["cells"]:
            source = "".join(cell["source"])
            names = [*variants.ENTRIES.values(), "helper", "pytorch"]
            wanted = any(name in source for name in names) or re.search(r"^\s*(check|start)\(", source, re.M)
            # The lesson's own experiments take long, and are not what is looked at here.
            lessons = "demo=True" in source or "moe_lessons.routing" in source
            if cell["cell_type"] == "code" and wanted and not lessons:
                shell.run_cell(source, store_history=True)
    return said.getvalue()


@pytest.mark.parametrize("name", variants.CHANGES)
def test_the_grader_gives_all_points(graded, name):
    one = graded[name]
    problems = [
        (e["exercise"], e["status"], e["findings"]) for e in one["exercises"] if e["status"] != "passed"
    ]
    assert not problems, problems
    assert one["points"] == POINTS


@pytest.mark.parametrize("name", sorted(set(variants.CHANGES) - {"cells in another order"}))
def test_check_agrees(name):
    said = checked(variants.made(variants.CHANGES[name]))
    for id in IDS:
        assert f"✔ {id}: passed" in said, said


@pytest.mark.parametrize("name", variants.REFUSED)
def test_what_is_refused_is_refused_in_the_same_words(graded, name):
    said = checked(variants.made(variants.REFUSED[name]))
    sentence = f"`{name}` keeps this cell from being run as Python"
    for one in graded[name]["exercises"]:
        assert one["status"] == "failed"
        assert one["findings"][0]["detail"].startswith(sentence)
        assert f"✘ {one['exercise']}: not right yet" in said
    assert said.count(sentence) == len(IDS)


def test_check_says_which_cell_it_judged_when_the_latest_did_not_run():
    content = variants.made(lambda content: None)
    cell = variants.answers(content)[0]
    broken = dict(cell, source=cell["source"].replace("return", "return return", 1))
    variants.insert(content, cell, broken, 1)
    said = checked(content)
    assert re.search(r"Judged: cell \[\d+\]\. Your latest version, cell \[\d+\], stopped with an error", said)


def test_the_notebook_has_the_four_names():
    content = variants.made(lambda content: None)
    start = next(c["source"] for c in content["cells"] if "start(" in c["source"])
    shell = Shell.instance()
    shell.reset(new_session=True)
    shell.user_ns["__name__"] = "__main__"
    shell.run_cell(start)
    assert {"math", "np", "torch", "F"} <= set(shell.user_ns)

"""The command: exit codes, one clear line for what cannot be graded, seeds, a learner's own notebook."""

import json
import re
from xml.etree import ElementTree

import classroom
import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.exercises import registry
from moe_lessons.grade import batches, sandbox
from moe_lessons.grade.records import PASSED, Verdict

LESSON = classroom.LESSONS[0]
IDS = [id for id in classroom.IDS if id.startswith(LESSON.number)]


def call(*arguments):
    return CliRunner().invoke(main, ["grade", *map(str, arguments)])


needs_sandbox = pytest.mark.skipif(sandbox.problem() is not None, reason=str(sandbox.problem()))


@pytest.fixture
def solved(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    path = folder / "ada.ipynb"
    path.write_text(json.dumps(classroom.SOLVED[LESSON.id]), encoding="utf-8")
    return path


@pytest.fixture
def seeds(monkeypatch):
    """Seeds that runs were given; nothing is run, everything passes."""
    given = []

    def judged(answers, seed, limits, isolation, tick):
        given.append(seed)
        return {(a.learner, a.exercise): Verdict(a.learner, a.exercise, PASSED) for a in answers}

    monkeypatch.setattr(batches, "run", judged)
    return given


def test_help_says_what_matters():
    output = " ".join(call("--help").output.split())
    for part in (
        "They run in a sandbox",
        "Exit codes: 0 grading ran",
        "1 the grader itself failed",
        "2 there is",
    ):
        assert part in output


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda folder: folder / "none", "no such folder"),
        (lambda folder: folder, "holds no notebooks (*.ipynb)"),
        (lambda folder: (folder / "a.ipynb").write_text("hello") and folder, "a.ipynb: not a notebook"),
        (
            lambda folder: (folder / "a.ipynb").write_text('{"nbformat": 4, "cells": []}') and folder,
            "a.ipynb: a notebook of another course",
        ),
    ],
)
def test_what_cannot_be_graded_is_one_line(tmp_path, make, line):
    folder = tmp_path / "class"
    folder.mkdir()
    result = call(make(folder), "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert line in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "give a folder of submissions, or --self NOTEBOOK"),
        (["class", "--self", "x.ipynb"], "give a folder of submissions, or --self NOTEBOOK"),
        (["class"], "say where the results go: --out DIR"),
        (["class", "--out", "o", "--timeout", "0"], "--timeout"),
        (["class", "--out", "o", "--seed", "-1"], "--seed"),
        (["--self", "none.ipynb"], "no such file"),
        (["--self", "."], "is a folder: give one notebook in it"),
        (["class", "--out", "o", "--class", "none.toml"], "'--class': File 'none.toml' does not exist"),
    ],
)
def test_wrong_options_are_one_line(arguments, line):
    result = call(*arguments)
    assert result.exit_code == 2
    assert line in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_lesson_that_there_is_not_comes_before_what_the_machine_lacks(solved, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "problem", lambda: "bubblewrap is not installed")
    for lesson, said in (("99", "no lesson '99'; there are 00, 01"), ("00", "bubblewrap is not installed")):
        result = call(solved.parent, "--out", tmp_path / "out", "--lesson", lesson)
        assert result.exit_code == 2
        assert said in result.stderr
        assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_said_first(solved, tmp_path):
    (tmp_path / "taken").write_text("a file")
    result = call(solved.parent, "--out", tmp_path / "taken" / "out")
    assert result.exit_code == 2
    assert "cannot write to" in result.stderr


@needs_sandbox
def test_the_seed_is_drawn_anew_or_given_and_recorded(solved, tmp_path, seeds):
    for more in ([], ["--fresh"], ["--seed", "7"]):
        assert call(solved.parent, "--out", tmp_path / "out", *more).exit_code == 0
        assert json.loads((tmp_path / "out" / "results.json").read_text())["seed"] == seeds[-1]
    assert seeds[0] != seeds[1]
    assert seeds[2] == 7


@needs_sandbox
def test_a_fault_of_the_grader_is_exit_code_1(solved, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "run", lambda *arguments: {})
    result = call(solved.parent, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"grader fault: ada, {IDS[0]}" in result.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["faults"] == len(IDS)

    def breaks(*arguments):
        raise OSError("disk on fire")

    monkeypatch.setattr(batches, "run", breaks)
    result = call(solved.parent, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "grader fault: OSError: disk on fire" in result.stderr


@needs_sandbox
@pytest.mark.usefixtures("seeds")
def test_names_are_data_everywhere(tmp_path):
    folder = tmp_path / "class"
    names = ["=cmd()", "<script>alert(1)<script>", "a|b `c`", "日本", "\udcff bad", "con", "ß" * 120]
    names += ["|", "x;=cmd()", "＝cmd()", "\n=cmd()", "\x1b[2J\u202e", "&lt;b&gt;", "{{ 7 * 7 }} %s {0}"]
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "one.ipynb").write_text(json.dumps(classroom.SOLVED[LESSON.id]), encoding="utf-8")
    result = call(folder, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    table = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    assert '\n"\'=cmd()",' in table
    assert '\n"x;=cmd()",' in table
    assert '\n"\' =cmd()",' in table
    assert not {"\x1b", "\u202e"} & set(result.output)
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "a\\|b \\`c\\`" in summary
    assert "| \\&lt;b\\&gt; |" in summary
    rows = [line for line in summary.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(names)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(IDS) + 4}
    ElementTree.parse(tmp_path / "out" / "junit.xml")
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert sorted(one["learner"] for one in content["learners"]) == sorted(names)
    pages = [tmp_path / "out" / one["feedback"] for one in content["learners"]]
    assert len(set(pages)) == len(names)
    assert not any("<script>" in page.read_text(encoding="utf-8") for page in pages)


def test_a_learner_grades_their_own_notebook(solved, tmp_path, monkeypatch):
    """Through the whole way: the solved notebook passes, a planted mistake is named; nothing is written."""
    monkeypatch.chdir(tmp_path)
    content = json.loads(solved.read_text())
    wrong = registry.exercise(IDS[-1])
    for cell in classroom.answer_cells(content):
        if classroom.answer_id(cell) == wrong.id:
            cell["source"] = classroom.planted(wrong.id, "WRONG", classroom.mistake(wrong.id, 0))
    solved.write_text(json.dumps(content), encoding="utf-8")
    result = call("--self", solved, "--seed", "3")
    assert result.exit_code == 0, result.output
    assert f"✘ {wrong.id}: not right yet" in result.stdout
    assert wrong.misconceptions[0].message in result.stdout
    assert f"{LESSON.points - wrong.points} of {LESSON.points} points (seed 3)" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["class"]

"""One answer, one grade: here on one thread or two, and in a worker beside others; three runs, one result."""

import json
import sys

import classroom
import pytest
import torch
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.exercises import answers, needs
from moe_lessons.exercises.judge import judge, local
from moe_lessons.grade import sandbox
from moe_lessons.grade.notebook import Answer, write
from moe_lessons.grade.records import Limits, Notebook
from moe_lessons.grade.session import Session

SEED = 11
SANDBOXED = sandbox.problem() is None


def known(lesson):
    """Every answer that we know the grade of: the solution, two other right ones, each planted mistake."""
    for exercise in lesson.exercises:
        if exercise.id not in classroom.ANSWERS or needs.missing(exercise) or exercise.driver == "kernel":
            continue  # kernels take a minute each in the interpreter, and have tests of their own
        yield exercise, classroom.ANSWERS[exercise.id]
        for which in (0, 1):
            yield exercise, classroom.planted(exercise.id, "RIGHT", which)
        for mistake in exercise.misconceptions:
            yield exercise, classroom.planted(exercise.id, "WRONG", mistake.id)


def told(status, findings, mistake):
    return status, [(finding[0], finding[1]) for finding in findings], mistake


def planted_modules():
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "planted"}


def here(exercise, code, threads):
    before, modules = torch.get_num_threads(), planted_modules()
    torch.set_num_threads(threads)
    try:
        report = judge(exercise, local(answers.load(code, exercise.entry)), seed=SEED)
    finally:
        torch.set_num_threads(before)
        for name in planted_modules():  # an answer brings modules of its own under these names
            del sys.modules[name]
        sys.modules.update(modules)
    mistake = report.misconception.id if report.misconception else None
    return told(report.status, [(f.name, f.passed) for f in report.findings], mistake)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", classroom.LESSONS, ids=lambda lesson: lesson.id)
def test_one_answer_gets_one_grade(tmp_path, lesson):
    asked = list(known(lesson))
    if not asked:
        pytest.skip("only kernels")
    given = [
        Answer(place, exercise.id, Notebook("x", answers={exercise.id: code}))
        for place, (exercise, code) in enumerate(asked)
    ]
    write(tmp_path, given, SEED, Limits(60, 10_000), sandboxed=SANDBOXED)
    session = Session(tmp_path)
    try:
        for place, (exercise, code) in enumerate(asked):
            session.grade(place)
            said = json.loads((tmp_path / "verdicts.jsonl").read_text().splitlines()[-1])
            mistake = said["misconception"] and said["misconception"][0]
            in_class = told(said["status"], said["findings"], mistake)
            assert here(exercise, code, 1) == here(exercise, code, 2) == in_class, (exercise.id, code[-500:])
    finally:
        session.parent.close()


@pytest.mark.slow
def test_three_runs_with_one_seed_give_one_result(tmp_path):
    """Byte for byte, with answers among them that leave memory unwritten and that draw at random."""
    lesson = classroom.LESSONS[1]
    first = lesson.exercises[0]
    unwritten = f"def {first.entry}(*args):\n    return torch.empty(len(args[0]), len(args[1]))"
    chance = f"def {first.entry}(*args):\n    return torch.from_numpy(np.random.default_rng().random((3, 3)))"
    for name, code in (
        ("ada", classroom.ANSWERS[first.id]),
        ("bob", unwritten),
        ("cy", chance),
        ("di", unwritten),
    ):
        (tmp_path / "class" / name).mkdir(parents=True)
        text = classroom.files({**classroom.ANSWERS, first.id: code})[f"{lesson.id}.ipynb"]
        (tmp_path / "class" / name / "one.ipynb").write_text(text, encoding="utf-8")
    how = [] if SANDBOXED else ["--unsafe-no-sandbox"]
    results = set()
    for run, jobs in enumerate((1, 2, 2)):
        command = [
            "grade",
            str(tmp_path / "class"),
            "--out",
            str(tmp_path / f"out-{run}"),
            "--seed",
            "7",
            *how,
        ]
        assert CliRunner().invoke(main, [*command, "-j", str(jobs)]).exit_code == 0
        results.add((tmp_path / f"out-{run}" / "results.json").read_bytes())
    assert len(results) == 1
    found = {one["learner"]: one["points"] for one in json.loads(results.pop())["learners"]}
    assert found == {"ada": lesson.points, **dict.fromkeys(("bob", "cy", "di"), lesson.points - first.points)}

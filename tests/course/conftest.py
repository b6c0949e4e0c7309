"""A toy lesson, 99, with one of everything, and a progress file of its own for each test."""

import linecache
import sys
import types

import numpy as np
import pytest
import torch

from moe_lessons.course import ask, claims, predictions, starting, store
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import (
    Case,
    Choice,
    Claim,
    Exercise,
    Lesson,
    Misconception,
    Output,
    Prediction,
    Quiz,
)


def draw(rng):
    return [Case(f"n={n}", {"x_N": rng.standard_normal(n).astype(np.float32), "factor": 2}) for n in (3, 5)]


SCALE = Exercise(
    id="99.scale",
    title="Scale a vector",
    task="Return `factor * x_N`.",
    entry="scale",
    points=2,
    minutes=1,
    difficulty=1,
    outputs=(Output("scaled_N", "N"),),
    draw=draw,
    reference=lambda x_N, factor: factor * x_N,
    misconceptions=(
        Misconception("added", "You added `factor`; it multiplies.", wrong=lambda x, f: x + f, hint=2),
    ),
    hints=("Which operation?", "A product.", "`factor * ...`"),
    notice="A number times a tensor needs no loop.",
)

LESSON = Lesson(
    id="99_toy",
    title="Toys & tests",
    question="Does it work?",
    goals=("Test.",),
    minutes=1,
    prerequisites=("nothing",),
    exercises=(SCALE,),
    quizzes=(
        Quiz(
            "99.choice",
            "Which?",
            (Choice("this", "No: `that`."), Choice("that", "Yes, *that*.", right=True)),
        ),
        Quiz("99.number", "How many?", answer=1250.0, feedback="It is 1250."),
    ),
    predictions=(Prediction("99.up", "Up or down?", ("up", "down."), truth=1, because="It fell."),),
    claims=(Claim("L9", "It is `x < y`.", "wrong", "It is not.", "arXiv 0000.00000"),),
)


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    module = types.ModuleType("moe_lessons.exercises.toy")
    module.LESSON = LESSON
    monkeypatch.setitem(sys.modules, "moe_lessons.exercises.toy", module)
    monkeypatch.setitem(registry._MODULES, "99", "toy")
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(store, "_unsaved", None)
    monkeypatch.setattr(store, "_apart", False)
    monkeypatch.setattr(starting, "_current", None)
    monkeypatch.setattr(claims, "_settled", {})
    monkeypatch.setattr(predictions, "_revealed", {})
    monkeypatch.setattr(ask, "_live", {})


@pytest.fixture
def printed(capsys):
    """What was printed since the last call, as one text."""
    return lambda: capsys.readouterr().out


@pytest.fixture
def in_cells():
    """Run cells one after the other, each with a file name of its own as in Jupyter; return their globals."""

    def run(*cells):
        shared = {"torch": torch}
        for number, cell in enumerate(cells):
            name = f"<cell {number} of {len(cells)}>"
            linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
            exec(compile(cell, name, "exec"), shared)
        return shared

    return run

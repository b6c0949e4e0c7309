"""The command knows the exercises without importing torch, and what it knows is what they say."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import Report
from moe_lessons.grade import catalogue

CODE = """
import json, sys
from dataclasses import asdict
import moe_lessons.commands.grading
from moe_lessons.grade import catalogue
told = [asdict(part) for part in catalogue.lessons()]
print(json.dumps([told, sorted({"torch", "scipy", "triton"} & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def told():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_command_loads_no_torch(told):
    assert told[1] == []


def test_another_process_tells_the_same(told):
    here = [{**asdict(part), "exercises": list(map(asdict, part.exercises))} for part in catalogue.lessons()]
    assert told[0] == here


def test_every_exercise_is_there():
    for lesson in registry.lessons():
        part = catalogue.lesson(lesson.number)
        assert (part.id, part.title) == (lesson.id, lesson.title)
        assert [one.id for one in part.exercises] == [exercise.id for exercise in lesson.exercises]
        for exercise in lesson.exercises:
            one = catalogue.exercise(exercise.id)
            assert (one.entry, one.points, one.driver) == (exercise.entry, exercise.points, exercise.driver)
            assert one.right == Report(exercise, "passed").line


def test_a_failure_says_why(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(catalogue, "_START", "raise SystemExit('no torch here')")
    with pytest.raises(RuntimeError, match="the exercises could not be read: no torch here"):
        catalogue.lessons.__wrapped__()

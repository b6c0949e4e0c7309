"""A progress file of its own for each test, and answers kept in it as a passed check keeps them."""

import sys
from pathlib import Path

import pytest

from moe_lessons.course import starting, store, yours
from moe_lessons.exercises.published import published
from moe_lessons.own import Parts

# The planted right answers are modules beside the tests of the exercises.
sys.path.insert(0, str(Path(__file__).parents[1] / "exercises"))


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(store, "_unsaved", None)
    monkeypatch.setattr(store, "_apart", False)
    monkeypatch.setattr(starting, "_current", None)


@pytest.fixture
def answered():
    """The parts as a lesson takes them, once exercises have passed: by the published answer, or this one."""

    def parts(*ids, **sources):
        kept = {id: published(id) for id in ids} | {Parts.ids()[name]: text for name, text in sources.items()}
        records = {id: {"attempts": 1, "passed": True, "source": text} for id, text in kept.items()}
        store.update(lambda progress: progress["exercises"].update(records))
        return Parts(**{name: yours(id) for name, id in Parts.ids().items()})

    return parts

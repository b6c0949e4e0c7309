"""Progress: it survives restarts, damage, a read-only home and a second notebook."""

import json
import os
import subprocess
import sys

import pytest

from moe_lessons.course import store
from moe_lessons.course.checking import check
from moe_lessons.course.scores import progress, reset, score
from moe_lessons.course.starting import start


def mark(id="99.scale"):
    store.update(lambda p: p["exercises"].__setitem__(id, {"attempts": 1, "passed": True}))


def write(text):
    store.path().parent.mkdir(parents=True, exist_ok=True)
    store.path().write_text(text, encoding="utf-8")


def elsewhere(code):
    """Run code in a Python of its own, as a restarted kernel or a second notebook would."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_progress_survives_a_restart():
    mark()
    assert (
        elsewhere("from moe_lessons.course import store; print('99.scale' in store.load()['exercises'])")
        == "True\n"
    )


def test_nothing_is_written_before_there_is_something_to_keep():
    store.load()
    assert not store.path().exists()
    assert str(store.path()) in store.where()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": 2}', "\x00\x01", "[" * 100_000, '{"version": 1'], ids=repr
)
def test_a_damaged_file_is_set_aside_and_said(printed, text):
    if len(text) > 50:
        text = "[" * 100_000
    write(text)
    assert store.load() == store.empty()
    kept = store.path().with_suffix(".damaged.json")
    assert kept.read_text(encoding="utf-8") == text
    assert "could not be read" in printed()
    mark()
    assert store.load()["exercises"] == {"99.scale": {"attempts": 1, "passed": True}}


def test_a_file_in_another_encoding_is_set_aside(printed):
    write("{}")
    store.path().write_bytes(b'{"version": 1, "hints": "\xe9"}')
    assert store.load() == store.empty()
    assert "could not be read" in printed()


def test_entries_that_are_not_what_they_should_be_are_left_out(printed):
    write(
        json.dumps(
            {
                "version": 1,
                "exercises": {
                    "99.scale": {"passed": True},
                    "a": [],
                    "b": {"attempts": 1},
                    "c": {"passed": "yes"},
                    "d": {"passed": False, "attempts": "many"},
                },
                "hints": {"99.scale": "two", "99.other": 1},
                "quizzes": [],
                "predictions": {"99.up": 7, "x": True},
                "more": 1,
            }
        )
    )
    found = store.load()
    assert found["exercises"] == {
        "99.scale": {"attempts": 0, "passed": True},
        "d": {"attempts": 0, "passed": False},
    }
    assert found["hints"] == {"99.other": 1}
    assert found["quizzes"] == {}
    start("99_toy")
    score()
    progress()
    assert "Lesson 99: 2 of 2 points" in printed()


def test_a_home_that_cannot_be_written_is_said_once(printed, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path / "file" / "home"))
    start("99_toy")
    check("99.scale", lambda x, factor: factor * x)
    check("99.scale", lambda x, factor: factor * x)
    score()
    text = printed()
    assert text.count("Progress cannot be saved") == 1
    assert "Lesson 99: 2 of 2 points" in text
    assert store.where() == "Progress is kept in this kernel only, until it ends."


def test_a_read_only_file_system_loses_nothing_of_this_kernel(printed, monkeypatch):
    mark()

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store.tempfile, "mkstemp", refuse)
    mark("99.other")
    assert set(store.load()["exercises"]) == {"99.scale", "99.other"}
    assert "Progress cannot be saved (Read-only file system)" in printed()
    assert not list(store.path().parent.glob("*.lock"))


def test_a_full_disk_keeps_the_old_file(printed, monkeypatch):
    mark()
    before = store.path().read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.json, "dump", full)
    mark("99.other")
    assert store.path().read_bytes() == before
    assert [p.name for p in store.path().parent.iterdir()] == ["progress.json"]
    assert "No space left on device" in printed()


def test_two_notebooks_at_once_lose_nothing():
    code = (
        "import sys; from moe_lessons.course import store\n"
        "for n in range(50):\n"
        "    store.update(lambda p: p['hints'].__setitem__(f'{sys.argv[1]}.{n}', n))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(3)]
    assert [p.wait(timeout=900) for p in running] == [0, 0, 0]
    assert len(store.load()["hints"]) == 150
    assert [p.name for p in store.path().parent.iterdir()] == ["progress.json"]


def test_a_lock_left_by_a_killed_notebook_is_taken_over(monkeypatch):
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.05)
    mark()
    lock = store.path().with_suffix(".lock")
    lock.touch()
    mark("99.other")
    assert set(store.load()["exercises"]) == {"99.scale", "99.other"}
    assert not lock.exists()


def test_a_solutions_notebook_touches_nobodys_progress(printed):
    mark()
    before = store.path().read_bytes()
    start("99_toy", keep=False)
    score()
    check("99.scale", lambda x, factor: factor * x)
    score()
    reset("all")
    score()
    text = printed()
    assert [line.split(";")[0] for line in text.splitlines() if line.startswith("Lesson 99: ")] == [
        "Lesson 99: 0 of 2 points",
        "Lesson 99: 2 of 2 points",
        "Lesson 99: 0 of 2 points",
    ]
    assert store.path().read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
def test_progress_is_readable_by_its_owner_only():
    mark()
    assert store.path().stat().st_mode & 0o077 == 0

"""The program keeps to itself: nothing is imported from where it stands, nothing stays when it is killed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import classroom
import pytest

from moe_lessons.grade import guard, sandbox

LESSON = classroom.LESSONS[0]
# Not among them: what Python itself loads from the current folder before any of ours runs (collections, say),
# when it is started with -m. INSTRUCTORS.md says so, and what to type instead.
SHADOWS = (
    "csv",
    "json",
    "typing",
    "click",
    "struct",
    "socket",
    "numpy",
    "torch",
    "nbval",
    "pytest",
    "sitecustomize",
)
needs_sandbox = pytest.mark.skipif(sandbox.problem() is not None, reason=str(sandbox.problem()))


@pytest.fixture
def folder(tmp_path):
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("open('imported', 'a').write(__name__)")
    (tmp_path / "ada.ipynb").write_text(json.dumps(classroom.SOLVED[LESSON.id]), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("how", ["module", pytest.param("script", marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", [*(pytest.param(p, marks=pytest.mark.slow) for p in (None, ":")), "."])
def test_nothing_of_the_class_folder_is_imported(folder, how, path):
    script = Path(sys.executable).parent / "moe-lessons"
    if how == "script" and not script.exists():
        pytest.skip("the package is not installed")
    if path is not None and how == "script":
        pytest.skip("with such a PYTHONPATH the script itself imports from the current folder before we run")
    command = [sys.executable, "-m", "moe_lessons"] if how == "module" else [str(script)]
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    if path is not None:
        (folder / "sitecustomize.py").unlink()  # loaded by Python itself, from PYTHONPATH
    ran = subprocess.run(
        [*command, "grade", "--self", "ada.ipynb", "--seed", "1"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{LESSON.points} of {LESSON.points} points" in ran.stdout
    assert not (folder / "imported").exists(), (folder / "imported").read_text()


def descendants(root):
    parents = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return family - {root}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@needs_sandbox
@pytest.mark.parametrize(
    "signal_number",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, id="stopped", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left_behind(tmp_path, signal_number):
    (tmp_path / "class").mkdir()
    (tmp_path / "tmp").mkdir()
    content = json.dumps(classroom.SOLVED[LESSON.id]).replace(
        "def top2_mix(", "while True: pass\\ndef top2_mix("
    )
    (tmp_path / "class" / "ada.ipynb").write_text(content, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "moe_lessons",
        "grade",
        str(tmp_path / "class"),
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(
        [*command, "--timeout", "600", "--total", "600"],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:  # until the answer's own process is there
        family = descendants(process.pid)
        if sum(b"warm" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family if alive(pid)) >= 4:
            break
        time.sleep(0.2)
    assert len(family) >= 5
    process.send_signal(signal_number)
    process.wait(timeout=120)
    deadline = time.monotonic() + 60
    while any(map(alive, family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in family if alive(pid)] == []
    left = sorted(path.name for path in (tmp_path / "tmp").iterdir())
    if signal_number == signal.SIGKILL:
        assert left, "a killed run cannot remove its files; the next one must"
        tempfile.tempdir = str(tmp_path / "tmp")
        try:
            guard.sweep()
        finally:
            tempfile.tempdir = None
        left = sorted(path.name for path in (tmp_path / "tmp").iterdir())
    assert left == []


def test_a_run_under_way_is_not_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with guard.workplace() as mine:
        (mine / "x").write_text("x")
        guard.sweep()
        assert (mine / "x").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_swept_before_its_lock_is_taken_is_made_anew(tmp_path, monkeypatch):
    """Two notebooks begin at one moment: one sweeps while the other has made its folder but not locked it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    locked = guard._locked

    def late(handle):
        monkeypatch.setattr(guard, "_locked", locked)
        guard.sweep()
        return locked(handle)

    monkeypatch.setattr(guard, "_locked", late)
    with guard.workplace() as mine:
        (mine / "job.json").write_text("{}")
        guard.sweep()
        assert (mine / "job.json").exists()
    assert list(tmp_path.iterdir()) == []

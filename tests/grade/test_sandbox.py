"""Whether there is a sandbox is found out by trying; without one nothing is graded unless it is asked for."""

import json
import subprocess
import sys

import classroom
import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.exercises.drivers import Request
from moe_lessons.grade import batches, libraries, sandbox, seccomp
from moe_lessons.grade.records import PASSED, Verdict
from moe_lessons.grade.workers import WarmParent

LESSON = classroom.LESSONS[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.ipynb").write_text(json.dumps(classroom.SOLVED[LESSON.id]), encoding="utf-8")
    monkeypatch.setattr(
        batches,
        "run",
        lambda answers, *rest: {
            (a.learner, a.exercise): Verdict(a.learner, a.exercise, PASSED) for a in answers
        },
    )
    sandbox.problem.cache_clear()
    yield tmp_path
    sandbox.problem.cache_clear()


def call(folder, *more):
    return CliRunner().invoke(main, ["grade", str(folder / "class"), "--out", str(folder / "out"), *more])


def without_bubblewrap(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)


def on_macos(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")


def said(text, code=1, out=""):
    def patch(monkeypatch):
        ran = subprocess.CompletedProcess([], code, out, text)
        monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(sandbox.subprocess, "run", lambda *a, **k: ran)

    return patch


def endless(monkeypatch):
    def run(*args, **options):
        raise subprocess.TimeoutExpired("bwrap", options["timeout"])

    monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sandbox.subprocess, "run", run)


@pytest.mark.parametrize(
    ("patch", "line"),
    [
        (endless, "no sign of life within 180 s"),
        (without_bubblewrap, "bubblewrap is not installed: apt-get install bubblewrap"),
        (on_macos, "the sandbox needs Linux"),
        (
            said("bwrap: setting up uid map: Permission denied"),
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (said("bwrap: No permissions to create new namespace"), "user namespaces may be off"),
        (said("PermissionError: [Errno 13] Permission denied: '/x'"), "can every user read the Python"),
        (said("", code=0, out="open a socket, mount"), "an answer could open a socket, mount"),
        (said("ModuleNotFoundError: No module named 'torch'"), "install torch, numpy and scipy with pip"),
        (said("", code=0), "it ended without a word"),
    ],
)
def test_without_a_sandbox_nothing_is_graded(folder, monkeypatch, patch, line):
    patch(monkeypatch)
    result = call(folder)
    assert result.exit_code == 2
    assert line in result.stderr
    assert "--unsafe-no-sandbox" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (folder / "out").exists()


def test_unsafe_grading_is_said_in_every_result(folder, monkeypatch):
    without_bubblewrap(monkeypatch)
    assert call(folder, "--unsafe-no-sandbox").exit_code == 0
    content = json.loads((folder / "out" / "results.json").read_text())
    assert content["isolation"]["kind"] == "process"
    assert content["isolation"]["sandboxed"] is False
    for name in ("summary.md", content["learners"][0]["feedback"]):
        assert "NOT SANDBOXED" in (folder / "out" / name).read_text(encoding="utf-8")


needs_sandbox = pytest.mark.skipif(sandbox.problem() is not None, reason=str(sandbox.problem()))
AS_ANOTHER = ("unshare", "--user", "--map-user=1234", "--map-group=1234")


def has_users():
    if sandbox.problem() is not None:
        return False
    return subprocess.run([*AS_ANOTHER, "true"], capture_output=True).returncode == 0


@needs_sandbox
def test_a_view_without_torch_is_refused_before_anything_is_graded(folder, monkeypatch):
    """As where packages lie in a place that the sandbox does not know."""
    needed = libraries.needed()
    less = {place: tuple(path for path in paths if path.name != "torch") for place, paths in needed.items()}
    monkeypatch.setattr(libraries, "needed", lambda: less)
    result = call(folder)
    assert result.exit_code == 2
    assert "No module named 'torch' (install torch" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@needs_sandbox
def test_what_is_installed_below_tmp_can_be_imported_late(tmp_path, monkeypatch):
    needed = {**libraries.needed(), tmp_path: (tmp_path / "late",)}
    monkeypatch.setattr(libraries, "needed", lambda: needed)
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "__init__.py").touch()
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("tests do not run below /tmp")
    code = "def f(x):\n    import late, tempfile\n    return tempfile.mkdtemp()"
    with WarmParent() as warm:
        worker = warm.start()
        assert worker.load(code, "f", (), 10) == ("function", "")
        (value,) = worker.call(Request("call", {"x": 1}, {}, {}), 10)
        worker.close()
    assert value.data.startswith("/scratch/")


@pytest.mark.skipif(not has_users(), reason="no sandbox, or no user namespaces")
@pytest.mark.parametrize("leaky", [False, True])
def test_for_an_ordinary_user_too_nothing_but_temporary_files_can_be_written(leaky):
    """An ordinary user owns what the sandbox makes; with its folders left writable, the probe must say so."""
    script = "from moe_lessons.grade import sandbox\n"
    if leaky:
        script += "view = sandbox._view\n"
        script += "sandbox._view = lambda f: list(view(f))[: list(view(f)).index('--remount-ro')]\n"
    ran = subprocess.run(
        [*AS_ANOTHER, sys.executable, "-c", script + "print(sandbox.user(), sandbox.problem())"],
        capture_output=True,
        text=True,
    )
    assert ran.stdout.startswith("1234 "), ran.stderr
    assert ("an answer could write to" in ran.stdout) == leaky, ran.stdout
    assert ran.stdout.strip().endswith(" None") != leaky


@needs_sandbox
def test_a_probe_that_could_do_something_is_seen(folder, monkeypatch):
    """Negative control: a jail without its filter and with the network's door open is no sandbox."""
    make = sandbox.kit.make

    def leaky(folder):
        start = make(folder)
        script = folder / "moe_lessons" / "grade" / "jail.py"
        text = script.read_text(encoding="utf-8")
        assert "    seccomp.apply()\n" in text
        script.write_text(text.replace("    seccomp.apply()\n", ""), encoding="utf-8")
        return start

    monkeypatch.setattr(sandbox.kit, "make", leaky)
    assert "an answer could open a socket" in sandbox.problem()


@pytest.mark.skipif(not seccomp.known(), reason="no filter for this machine")
def test_the_filter_is_well_formed(monkeypatch):
    import struct

    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr(seccomp.platform, "machine", lambda machine=machine: machine)
        steps = list(struct.iter_unpack("<HBBI", seccomp.program()))
        assert steps[-1] == (seccomp._RETURN, 0, 0, seccomp._ALLOW)
        for place, (code, if_true, if_false, _) in enumerate(steps):
            if code & 7 == 5:  # jumps stay inside
                assert place + 1 + max(if_true, if_false) < len(steps)
        column = seccomp._MACHINES[machine][0]
        numbers = [pair[column] for pair in seccomp.DENIED.values() if pair[column] is not None]
        assert len(set(numbers)) == len(numbers)

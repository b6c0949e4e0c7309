"""The GPU day's stages, as far as they can be held to something without a GPU."""

import doctest
import json
import subprocess
import sys

import nbformat
import pytest
from gpu_stages import clocks, layer, lessons, lessons_notebook, right_beside, stage

CELLS = [
    "import inspect\n\ndef double(x):\n    return 2 * x",
    "from IPython.display import display\ndisplay(double(2))",
    "print('on the GPU:', inspect.getsource(double).splitlines()[0])\ndouble(21)",
    "1 / 0",
    "print('never')",
]


@pytest.mark.parametrize("module", [stage, right_beside, lessons, lessons_notebook], ids=lambda m: m.__name__)
def test_examples(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_rows_that_json_has_no_word_for(tmp_path):
    one = stage.Stage(tmp_path / "x.json", "cpu", 10, say=lambda line: None)
    one.add({"error": float("nan"), "sizes": (1, 2)})
    assert stage.read(one.file)["rows"] == [{"error": "nan", "sizes": [1, 2]}]
    assert one.have(sizes=(1, 2), error=float("nan"))
    assert len(one.file.read_text().splitlines()) == 4  # one row a line


PLAIN = (
    "import importlib.util as u; find = u.find_spec; "
    "u.find_spec = lambda name, *rest: None if name in ('nbclient', 'IPython') else find(name, *rest); "
)


@pytest.mark.parametrize(
    ("way", "before"), [("nbclient", ""), ("plain Python", PLAIN)], ids=["jupyter", "plain"]
)
def test_a_notebook_runs_with_and_without_jupyter(tmp_path, way, before):
    built = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nbformat.write(built, tmp_path / "x.ipynb")
    run = f"import sys; sys.argv = ['x', {str(tmp_path / 'x.ipynb')!r}, {str(tmp_path / 'lines')!r}]; "
    code = f"{before}{run}import runpy; runpy.run_module('gpu_stages.lessons_notebook', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=stage_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert lines[0] == {"way": way, "cells": 5}
    assert lines[-1]["error"] == "ZeroDivisionError: division by zero"
    row = lessons.summary(lines, done.returncode)
    assert row["ok"] is False
    assert row["executed"] == 4
    assert row["about_the_gpu"] == [{"cell": 2, "printed": "on the GPU: def double(x):\n42\n"}]


def stage_environment():
    from gpu_day import environment

    return environment("cpu")


def test_what_mentions_the_gpu_is_told_and_what_did_not_end_is_no_failure(tmp_path, monkeypatch):
    one = stage.Stage(tmp_path / "x.json", "cuda", 1000, say=lambda line: None)
    told = iter([{"unfinished": "stopped after 60 s"}, {"ok": True}, {"ok": True}, {"ok": True}])
    monkeypatch.setattr(lessons, "execute", lambda stage, lesson: next(told))
    lessons.run(one)
    assert [row["lesson"] for row in one.rows] == list(lessons.LESSONS)
    lessons.run(one)  # the one that did not end is executed once more, the others are not
    assert [row["lesson"] for row in one.rows[3:]] == [lessons.LESSONS[0]]


def test_the_layer_stage_begins_with_what_is_asked_for_and_leaves_nothing_out():
    jobs = layer.jobs(dry=False)
    first = [(s.n_tokens, s.d_model, s.d_expert, s.n_experts, s.top_k) for s, _ in jobs[:3]]
    assert first == [(8192, 1024, 2048, 64, 8), (8192, 2048, 768, 128, 8), (8192, 4096, 14336, 8, 2)]
    assert len(set(jobs)) == len(jobs) == sum(len(s.dtypes) for s in (*layer.GPU_SHAPES, layer.MIXTRAL))


def test_without_a_gpu_no_clocks_are_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert clocks.now() is None
    assert clocks.driver() is None


def test_clocks_of_nvidia_smi(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    said = subprocess.CompletedProcess([], 0, "1980, 3201, 41, 212.51\n", "")
    monkeypatch.setattr(clocks.subprocess, "run", lambda *_, **__: said)
    assert clocks.now() == {"sm_mhz": 1980.0, "memory_mhz": 3201.0, "celsius": 41.0, "watts": 212.51}


def test_a_check_that_raises_is_a_row_and_the_next_one_is_done(tmp_path):
    from gpu_stages import right

    def wrong():
        raise ValueError("not so")

    one = stage.Stage(tmp_path / "x.json", "cpu", 10, say=lambda line: None)
    right.attempt(one, "first", wrong)
    right.attempt(one, "second", lambda: {"error": 1e-3})
    assert [(row["check"], row["ok"]) for row in one.rows] == [("first", False), ("second", True)]
    assert one.rows[0]["why"] == "ValueError: not so"


@pytest.mark.parametrize(
    ("command", "seconds", "problem"),
    [("exit 1", 60, ""), ("exit 4", 60, "pytest ended with 4"), ("sleep 60", 3.2, "the stage's time was up")],
    ids=["some failed", "broken", "too slow"],
)
def test_tests_that_do_not_end_well_are_told_and_done_again(tmp_path, command, seconds, problem):
    one = stage.Stage(tmp_path / "x.json", "cpu", seconds, say=lambda line: None)
    lines = tmp_path / "lines"
    lines.write_text('{"check": "a", "ok": true}\n{"check": "b", "ok": false}\n{"check": "half')
    child = subprocess.Popen(["sh", "-c", f"exec {command}" if "sleep" in command else command])
    try:
        tests = right_beside.Tests(one, child, lines)
        assert tests.finish().startswith(problem)
    finally:
        child.kill()
        child.wait()
    assert [row["check"] for row in one.rows[:2]] == ["a", "b"]
    assert bool(one.have(check=right_beside.Tests.ended)) == (not problem)


@pytest.mark.slow
def test_the_limit_between_two_curves_tells_another_training_apart():
    """A learning rate lower by a twentieth is further from the curve than bf16 may be."""
    from gpu_stages.right_checks import CURVES_WITHIN, curve

    exact, other = curve("cpu", "fp32"), curve("cpu", "fp32", learning_rate=0.95 * 1.4e-3)
    assert max(abs(a - b) for a, b in zip(exact, other, strict=True)) > CURVES_WITHIN


def test_only_what_a_gpu_measured_reaches_the_lessons():
    from gpu_day_results import of_layer

    rows = [
        {"name": "ceilings", "bytes_per_s": 1.0},
        {"shape": "s", "ours_ms": 1.0},
        {"shape": "t", "ok": False},
    ]
    found = of_layer({"about": {"dry": False, "device": "a GPU"}, "rows": rows})
    assert found["rows"] == [rows[1]]
    assert found["about"]["ceilings"] == rows[0]
    for about, some, why in (({"dry": True}, rows, "dry run"), ({"dry": False}, rows[:1], "no shape")):
        with pytest.raises(ValueError, match=why):
            of_layer({"about": about, "rows": some})

"""Kernels are judged where their answer never was: what it says about them is not believed."""

import importlib.util

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs Triton", allow_module_level=True)

from moe_lessons.build import paths
from moe_lessons.build.source import read_cells
from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import judge
from moe_lessons.exercises.published import with_solution
from moe_lessons.grade import sandbox
from moe_lessons.grade.witness import witnessed
from moe_lessons.grade.workers import WarmParent

GATHER = registry.exercise("09.gather_rows")


def solution(id):
    path = paths.LESSONS / f"{registry.lesson('09').id}.py"
    return with_solution(next(c.source for c in read_cells(path) if c.metadata.get("answer") == id))


CELL = solution("09.gather_rows")
HOST = """

def gather_rows(hidden_TD, slots_S, out_SD, top_k):
    {body}
    out_SD.copy_(hidden_TD[slots_S // top_k])
"""


@pytest.fixture(scope="module")
def warm():
    with WarmParent(sandboxed=sandbox.problem() is None) as parent:
        yield parent


def graded(warm, code, exercise=GATHER):
    answer, witness = warm.start(), warm.start()
    try:
        found = answer.load(code, exercise.entry, exercise.forbidden, 30.0)
        assert found == ("function", ""), found
        ask, testify = ((lambda request, one=one: one.call(request, 30.0)) for one in (answer, witness))
        return judge(exercise, lambda request: witnessed(request, ask, testify))
    finally:
        answer.close()
        witness.close()


@pytest.mark.parametrize("exercise", [e for e in registry.lesson("09").exercises if e.driver == "kernel"])
def test_solutions_pass(warm, exercise):
    report = graded(warm, solution(exercise.id), exercise)
    assert report.status == "passed", report.findings


LIES = {
    "says all is clean": """
    import sys
    driver = sys.modules["moe_" + "lessons.exercises.kernel_driver"]
    driver._recorded = lambda answer, args, outputs: (answer(*args.values()), ("clean", [], None))[1]
    driver.watch = driver._watch = lambda *a, **k: driver.Watched([args["out_SD"]], "clean")""",
    "notes nothing": """
    import sys
    launch = sys.modules["moe_" + "lessons.exercises.kernel_launch"]
    launch.Recorder.changed_outside = lambda self: []
    launch.Recorder.as_text = lambda self: '{"kernels": [], "launches": [], "outside": []}'""",
    "returns what it likes": """
    import sys
    driver = sys.modules["moe_" + "lessons.exercises.drivers"]
    driver.DRIVERS["kernel"] = lambda answer, args, options: (out_SD, "clean", "compiles")""",
    "changes the counter": """
    import gc
    for thing in gc.get_objects():
        if type(thing).__name__ == "Traffic": thing.__class__.counted = False""",
    "launches a kernel that is no kernel": """
    import sys, json
    launch = sys.modules["moe_" + "lessons.exercises.kernel_launch"]
    text = "def k(out):\\n    import os\\n    os._exit(0)\\n"
    noted = {"kernels": [[{"name": "k", "text": text, "line": 1, "names": {}}]], "outside": [],
             "launches": [{"kernel": 0, "grid": [1], "args": {}, "fills": {}}]}
    launch.Recorder.as_text = lambda self: json.dumps(noted)""",
    "reaches into the interpreter": """
    import sys, json
    launch = sys.modules["moe_" + "lessons.exercises.kernel_launch"]
    text = "def k(out):\\n    out.handle.data.fill(0)\\n"
    noted = {"kernels": [[{"name": "k", "text": text, "line": 1, "names": {}}]], "outside": [],
             "launches": [{"kernel": 0, "grid": [1], "args": {"out": ["given", "out_SD", "float32", 0,
             [10, 20], [20, 1]]}, "fills": {}}]}
    launch.Recorder.as_text = lambda self: json.dumps(noted)""",
    "nonsense": """
    import sys
    launch = sys.modules["moe_" + "lessons.exercises.kernel_launch"]
    launch.Recorder.as_text = lambda self: "[" * 50000""",
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
def test_a_lie_about_kernels_earns_nothing(warm, body):
    report = graded(warm, CELL + HOST.format(body=body.strip()))
    assert report.status == "failed"
    assert report.points == 0


HONEST = {
    "a tensor of its own": (
        "[grid](hidden_TD, slots_S,",
        "[grid](hidden_TD, slots_S.int(),",
    ),
    "a grid from its options": (
        "gather_kernel[grid]",
        "gather_kernel[lambda meta: (n_rows, triton.cdiv(d_model, meta['BLOCK']))]",
    ),
    "zeros first": ("    grid =", "    out_SD.zero_()\n    grid ="),
    "a helper": (
        "@triton.jit\ndef gather_kernel",
        "@triton.jit\ndef token_of(slot, K: tl.constexpr):\n    return slot // K\n\n\n"
        "@triton.jit\ndef gather_kernel",
    ),
    "a constant": ("inside = column < d_model", "inside = column < d_model * ONE"),
}


@pytest.mark.parametrize("change", HONEST.values(), ids=HONEST)
def test_honest_ways_to_launch_pass(warm, change):
    code = CELL.replace(*change, 1)
    if "token_of" in code:
        code = code.replace("tl.load(slots_S + row) // TOP_K", "token_of(tl.load(slots_S + row), TOP_K)")
    if "ONE" in code:
        code = code.replace("@triton.jit", "ONE = tl.constexpr(1)\n\n\n@triton.jit", 1)
    report = graded(warm, code)
    assert report.status == "passed", report.findings


NO_GPU = {
    "a number grows": (
        "09.combine_rows",
        "acc = tl.zeros((BLOCK,), tl.float32)",
        "acc = 0.0",
    ),
    "break": (
        "09.combine_rows",
        "for k in range(TOP_K):\n",
        "for k in range(64):\n        if k >= TOP_K:\n            break\n",
    ),
    "a list": (
        "09.gather_rows",
        "inside = column < d_model",
        "inside = [column < d_model for _ in range(1)][0]",
    ),
}


@pytest.mark.parametrize("change", NO_GPU.values(), ids=NO_GPU)
def test_what_no_gpu_could_run_is_told(warm, change):
    id, old, new = change
    code = solution(id)
    assert old in code
    report = graded(warm, code.replace(old, new), registry.exercise(id))
    assert report.status == "failed"
    found = next(finding for finding in report.findings if finding.passed is False)
    assert found.name == "compiles for GPUs (sm_80 and sm_90)"
    assert "sm_80" in found.detail

"""The benchmark: who takes part, that wrong answers are not timed, and what comes out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from moe_lessons.bench import contestants, measuring, report
from moe_lessons.bench.limit import DenseChain, torch_mm
from moe_lessons.bench.shapes import CPU_SHAPES, GPU_SHAPES, Case, Shape
from moe_lessons.build import paths
from moe_lessons.commands.bench import run
from moe_lessons.commands.cli import main

TINY = Shape("tiny", 12, 8, 16, 4, 2, compute_bound=("fp32",))
LAYER = Shape("tiny-layer", 12, 8, 16, 4, 2, dtypes=("fp32",), scope="layer")
HERE = {"ours", "hf_eager", "hf_grouped_mm", "hf_batched_mm"}
PLAIN = {"unbind_loop", "grouped_mm", "padded_bmm", "masking"}


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moe_lessons.bench.shapes.CPU_SHAPES", (TINY, LAYER))
    return lambda *arguments: CliRunner().invoke(main, ["bench", "--device", "cpu", *arguments])


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_everybody_computes_the_same(dtype):
    case = Case(TINY, dtype, "cpu")
    runs, absent = contestants.build(case)
    errors = measuring.check(runs, case, absent)
    assert set(runs) == HERE | PLAIN
    assert set(absent) == {"liger", "sonicmoe"}
    assert all("GPU" in reason for reason in absent.values())
    assert set(errors) == set(runs)
    assert max(errors.values()) < measuring.LARGEST_ERROR[case.dtype]


def test_a_whole_layer_routes_by_itself():
    case = Case(LAYER, "fp32", "cpu")
    runs, absent = contestants.build(case)
    errors = measuring.check(runs, case, absent)
    assert set(runs) == set(errors) == HERE
    draw = case.draw(0)
    expected = measuring.oracle(case, draw)
    assert len(expected) == 5  # output; gradients of tokens, router and both projections
    assert expected[2].shape == case.router.shape


WRONG = {
    "nothing": lambda hidden_TD, ids_TK, weights_TK: 0 * hidden_TD,
    "unweighted": lambda hidden_TD, ids_TK, weights_TK: CORRECT(hidden_TD, ids_TK, weights_TK.sign()),
    "no gradient": lambda hidden_TD, ids_TK, weights_TK: (
        CORRECT(hidden_TD, ids_TK, weights_TK).detach() + 0 * hidden_TD
    ),
    "half the tokens": lambda hidden_TD, ids_TK, weights_TK: CORRECT(
        hidden_TD * (torch.arange(len(hidden_TD)) % 2).unsqueeze(1), ids_TK, weights_TK
    ),
}
CASE = Case(TINY, "fp32", "cpu")
CORRECT = contestants.unbind_loop(CASE)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_left_out(name):
    runs, absent = {"good": CORRECT, "bad": WRONG[name]}, {}
    measuring.check(runs, CASE, absent)
    assert set(runs) == {"good"}
    assert absent["bad"].startswith("wrong: relative error")


def test_failures_are_told():
    def broken(hidden_TD, ids_TK, weights_TK):
        raise RuntimeError("no kernel\nfor this")

    runs, absent = {"broken": broken}, {}
    measuring.check(runs, CASE, absent)
    assert absent == {"broken": "failed: no kernel"}


def test_a_peer_that_cannot_be_built_is_told(monkeypatch):
    def other_version(case):
        raise AttributeError("no such block")

    monkeypatch.setitem(contestants.CONTESTANTS, "masking", other_version)
    runs, absent = contestants.build(CASE)
    assert "masking" not in runs
    assert absent["masking"] == "failed: no such block"


@pytest.mark.slow
def test_nothing_is_reported_if_ours_is_wrong(call, monkeypatch):
    monkeypatch.setitem(contestants.CONTESTANTS, "ours", lambda case: WRONG["nothing"])
    result = call("--shapes", "tiny", "--rounds", "3", "--out", "out.json")
    assert result.exit_code == 2
    assert "error: shape tiny in fp32: our result is wrong: relative error" in result.stderr
    assert "nothing is reported" in result.stderr
    assert not Path("out.json").exists()


@pytest.mark.slow
def test_json_has_ratios_first_and_says_with_what(call):
    result = call("--shapes", "tiny,tiny-layer", "--rounds", "3", "--threads", "1", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    about = found["about"]
    assert about["threads"] == 1
    assert about["torch"] == torch.__version__
    assert {"device", "python", "transformers", "triton", "commit", "units", "rounds", "clock"} <= set(about)
    rows = {(row["shape"], row["dtype"], row["pass"]): row for row in found["rows"]}
    assert len(rows) == 6  # two dtypes and one, forward and with backward
    row = rows["tiny", "fp32", "forward_backward"]
    assert list(row)[3:5] == ["ratio_to_best_peer", "ratio_to_limit"]
    assert row["compute_bound"]
    assert not rows["tiny", "bf16", "forward"]["compute_bound"]
    assert row["path"] == "grouped"
    assert row["best_peer"] in row["contestants"]
    timed = row["contestants"]["ours"]
    assert 0 < timed["min_ms"] <= timed["q1_ms"] <= timed["median_ms"] <= timed["q3_ms"]
    assert timed["error"] < 1e-5
    assert "liger" in row["not_measured"]


def test_the_table_and_the_file(call, tmp_path):
    result = call("--shapes", "tiny", "--dtype", "fp32", "--rounds", "3", "--out", "out.json")
    assert result.exit_code == 0, result.stderr
    assert "tiny" in result.stdout
    assert "/ best peer" in result.stdout
    assert len(json.loads((tmp_path / "out.json").read_text())["rows"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shapes", "huge"), "--shapes huge: choose among tiny, tiny-layer"),
        (("--shapes", "tiny-layer", "--dtype", "bf16"), "--dtype bf16: none of the chosen shapes"),
        (("--rounds", "2"), "2 is not in the range x>=3"),
        (("--out", "no/where.json"), "--out no/where.json: there is no folder no"),
    ],
)
def test_bad_arguments_get_one_clear_line(call, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_missing_gpu_gets_one_clear_line():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = CliRunner().invoke(main, ["bench", "--device", "cuda"])
    assert result.exit_code == 2
    assert "PyTorch sees no CUDA GPU" in result.stderr


def test_threads_are_put_back():
    before = torch.get_num_threads()
    run("cpu", [TINY], "fp32", 3, 1, "cpu")
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_slow_peers_sit_out_and_are_never_the_best(monkeypatch):
    def dawdle(case):
        def slow(*arguments):
            for _ in range(100):
                result = CORRECT(*arguments)
            return result

        return slow

    monkeypatch.setitem(contestants.CONTESTANTS, "masking", dawdle)
    measured = measuring.measure(CASE, rounds=6)
    assert len(measured["samples_ms"]["ours"]["forward"]) == 6
    assert len(measured["samples_ms"]["masking"]["forward"]) == 2
    made = report.rows(CASE, "fp32", measured)
    assert all(row["best_peer"] not in (None, "masking") for row in made)


def test_rounds_have_fresh_tokens_and_routing():
    first, again, other = CASE.draw(0), CASE.draw(0), CASE.draw(1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first.topk_ids_TK, other.topk_ids_TK)
    assert not torch.equal(first.hidden_TD, other.hidden_TD)
    assert all(len(set(row)) == TINY.top_k for row in first.topk_ids_TK.tolist())


def test_skew_skews():
    even, skewed = (
        Case(Shape("s", 2000, 4, 4, 8, 2, skew=skew), "fp32", "cpu").draw(0) for skew in (0.0, 1.0)
    )
    loads = [torch.bincount(draw.topk_ids_TK.flatten(), minlength=8).max() / 500 for draw in (even, skewed)]
    assert loads[0] < 1.2
    assert loads[1] > 1.8


def test_the_limit_does_the_work_of_the_layer():
    products = []

    def count(left, right, out):
        products.append(2 * left.shape[0] * left.shape[1] * right.shape[1])
        torch_mm(left, right, out)
        assert out.isfinite().all()

    chain = DenseChain(CASE, count)
    chain.forward()
    slots = TINY.n_tokens * TINY.top_k
    assert sum(products) == 6 * slots * TINY.d_model * TINY.d_expert
    chain.forward_backward()
    assert sum(products) == (6 + 18) * slots * TINY.d_model * TINY.d_expert


def test_shapes_cover_what_is_asked():
    names = [shape.name for shape in CPU_SHAPES]
    assert len(set(names)) == len(names) >= 8
    assert {shape.n_tokens for shape in CPU_SHAPES} >= {1, 8, 64}
    for shapes in (CPU_SHAPES, GPU_SHAPES):
        assert any(shape.skew for shape in shapes)
        assert {"fp32", "bf16"} == {dtype for shape in shapes for dtype in shape.dtypes}
    assert any(
        (s.n_tokens, s.d_model, s.d_expert, s.n_experts, s.top_k) == (8192, 1024, 2048, 64, 8)
        for s in GPU_SHAPES
    )


def test_the_script_is_the_command():
    script = paths.ROOT / "benchmarks" / "layer.py"
    done = subprocess.run(
        [sys.executable, str(script), "--device", "cpu", "--list"], capture_output=True, text=True, check=True
    )
    head, first, *_ = done.stdout.splitlines()
    assert head.split()[0] == "shape"
    assert first.split()[0] == CPU_SHAPES[0].name

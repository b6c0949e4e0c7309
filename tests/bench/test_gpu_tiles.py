"""The GPU day's stage `tiles`: its candidates, its workers, and what was judged without a GPU."""

import json
import os
import subprocess
import sys

import pytest
from gpu_stages import tiles as stage_module
from gpu_stages.candidates import FEW_ROWS, FORWARD_ONLY, MANY_ROWS, SHAPES, candidates, reads, today
from gpu_stages.stage import Stage
from gpu_stages.winners import code
from gpu_stages.workers import Worker, ask_all

from moe_lessons.build import paths
from moe_lessons.kernels.tiles import HOPPER, TILE_OF_STEP, Tile

triton = pytest.importorskip("triton")
RESULTS = paths.ROOT / "benchmarks" / "results" / "kernel_candidates.json"
H100 = (9, 0)


# ---- candidates


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_candidate_is_todays_choice_and_none_comes_twice(shape):
    listed = candidates(shape)
    assert len(listed) == len(set(listed))
    for step in {step for step, _ in listed}:
        first = next(tile for name, tile in listed if name == step)
        assert first == getattr(today(SHAPES[shape], H100), TILE_OF_STEP[step])


def test_each_number_of_rows_has_a_candidate_in_all_kernels_that_share_blocks():
    for lists in (MANY_ROWS, FEW_ROWS):
        rows = {field: {tile.m for tile in tiles} for field, tiles in lists.items()}
        rows.pop("weight_gradient", None)
        assert len(set(map(frozenset, rows.values()))) == 1


def test_every_lever_is_tried_where_the_kernel_has_it():
    tried = {field: set().union(*(tile.levers for tile in tiles)) for field, tiles in MANY_ROWS.items()}
    assert tried == {
        "up": {"group", "tma", "persistent"},
        "down": {"group", "tma"},
        "hidden_gradient": {"group", "tma"},
        "pre_gradient": {"group"},
        "weight_gradient": set(),
    }


def test_grouping_is_expected_to_save_reads_only_where_weights_exceed_the_cache():
    saved = {
        shape: reads(shape, "up", HOPPER.up) / reads(shape, "up", HOPPER.up._replace(group=8))
        for shape in SHAPES
        if shape not in FORWARD_ONLY
    }
    assert saved["Mixtral"] > 4
    assert max(saved["reference"], saved["Qwen3-30B"]) < 1.5


def test_reads_of_one_wave_by_hand(monkeypatch):
    """16 rows for each of 2 experts, 2 pieces, blocks of 8: alone, every program reads rows and weights."""
    monkeypatch.setitem(SHAPES, "hand", (16, 10, 32, 2, 2))
    tile = Tile(8, 16, 16, 4, 1)
    monkeypatch.setattr("gpu_stages.candidates.MULTIPROCESSORS", 1)
    assert reads("hand", "down", tile) == pytest.approx(4 * 1 * 2 * 32 * (8 + 16) / 1e9)
    monkeypatch.setattr("gpu_stages.candidates.MULTIPROCESSORS", 1000)
    assert reads("hand", "down", tile) == pytest.approx(2 * 32 * (32 + 2 * 16) / 1e9)


# ---- what was judged


def test_recorded_results_are_of_these_candidates():
    """After a change: `python benchmarks/kernel_candidates.py`."""
    from moe_lessons.kernels.compiled import Machine, shortcomings

    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert not results["measured_on_a_gpu"]
    listed = [(shape, step, tile) for shape in results["shapes_TDFEK"] for step, tile in candidates(shape)]
    assert all(tuple(sizes) == SHAPES[shape] for shape, sizes in results["shapes_TDFEK"].items())
    found = []
    for row in results["rows"]:
        tile = Tile(*row["tile"], row["warps"], row["stages"], **row["levers"])
        found.append((row["shape"], row["kernel"], tile))
        if "registers" in row:
            machine = Machine(**{name: row[name] for name in Machine._fields})
            assert row["dropped"] == shortcomings(machine, tile, 90)
        else:
            assert row["dropped"], "it did not compile, and nothing says why"
    assert found == listed
    dropped = [row for row in results["rows"] if row["dropped"]]
    assert (results["candidates"], results["dropped"]) == (len(listed), len(dropped))
    assert results["kept"] == len(listed) - len(dropped)
    for row in results["expected_reads"]:
        tile = Tile(*getattr(today(SHAPES[row["shape"]], H100), row["kernel"])[:5], group=row["group"])
        assert row["read_GB"] == round(reads(row["shape"], row["kernel"], tile), 3)


def test_what_rules_out_a_candidate():
    from moe_lessons.kernels.compiled import Machine, shortcomings

    good = Machine(200, 100_000, 0, 8, 0, 12, 0, 0, 0, 0)
    tile, few = Tile(128, 128, 64, 8, 3), Tile(16, 64, 64, 4, 3)
    assert shortcomings(good, tile, 90) == []
    assert shortcomings(good._replace(spill_bytes=16, local_memory=4), tile, 90) == []  # outside the loop
    assert shortcomings(good._replace(spill_bytes=8, local_memory=4, loop_spills=1), tile, 90) == []
    assert shortcomings(good._replace(tma_copies=6), tile._replace(tma=True), 90) == []
    assert shortcomings(good._replace(wgmma=0, mma=8), few, 90) == []
    for machine, which, complaint in [
        (good._replace(spill_bytes=80), tile, "spills 80 bytes"),
        (good._replace(spill_bytes=16, local_memory=4, loop_spills=3), tile, "spills 3 times in its loop"),
        (good._replace(shared_bytes=233_000), tile, "shared memory"),
        (good._replace(wgmma=0, mma=8), tile, "off the GPU's matrix unit"),
        (good._replace(wgmma=0), few, "off the GPU's matrix unit"),
        (good, tile._replace(tma=True), "no copy goes through the copy engine"),
        (good._replace(atomics=1), tile, "1 atomic"),
    ]:
        (line,) = shortcomings(machine, which, 90)
        assert complaint in line


@pytest.mark.slow
def test_what_a_worker_compiled_is_found_by_the_launch(tmp_path, monkeypatch):
    """Triton's own launcher, given the launch as `up` and `product` write it, compiles nothing anew."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tiles = {"up": Tile(64, 64, 32, 4, 2, tma=True, persistent=1), "down": Tile(64, 64, 32, 4, 2, group=4)}
    worker = Worker("gpu_stages.compiling")
    for before in (False, True):
        for step, tile in tiles.items():
            question = {"step": step, "sizes": SHAPES["reference"], "tile": tile, "capability": 90}
            answer = worker.ask(question, 120)
            assert answer["compiled_before"] is before, answer
        worker.close()  # the second time, a new process
    program = f"""
import torch, triton
from unittest import mock
from gpu_stages.compiling import cache_hits
from moe_lessons.kernels.compiled import _Driver, moe_launches
from moe_lessons.kernels.plan import Plan
from moe_lessons.kernels.product import product
from moe_lessons.kernels.tiles import Tile
from moe_lessons.kernels.up import up

T, D, F, E, K = {SHAPES["reference"]}
def meta(*shape, dtype=torch.bfloat16):
    return torch.empty(*shape, dtype=dtype, device="meta")
plan = Plan(meta(T * K, dtype=torch.int64), meta(T * K, dtype=torch.int64), meta(E, dtype=torch.int32),
            meta(T * K // 64 + E, 2, dtype=torch.int32), K)
run = triton.JITFunction.run
def compile_only(self, *arguments, **options):
    return run(self, *arguments, **options | {{"warmup": True}})
with (
    mock.patch.object(triton.JITFunction, "run", compile_only),
    mock.patch.object(type(triton.runtime.driver), "active", _Driver(90)),
    cache_hits() as hits,
):
    act, _ = up(meta(T, D), meta(E, 2 * F, D), plan, Tile(*{tuple(tiles["up"])}), store_pre=True)
    product(act, meta(E, D, F), plan, Tile(*{tuple(tiles["down"])}))
    product(act, meta(E, D, F), plan, Tile(64, 64, 64, 4, 2))
print(hits)
"""
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT / "benchmarks"), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        cwd=paths.ROOT,
        check=True,
    )
    assert done.stdout.strip() == "[True, True, False]"  # the last tile was not compiled before


# ---- workers


@pytest.fixture
def moody(tmp_path, monkeypatch):
    (tmp_path / "moody.py").write_text(
        "import os, time\n"
        "from gpu_stages.workers import serve\n"
        "def answer(question):\n"
        "    print('noise')\n"
        "    if question['do'] == 'die': os._exit(3)\n"
        "    if question['do'] == 'hang': time.sleep(1000)\n"
        "    if question['do'] == 'raise': raise ValueError('too large\\nsecond line')\n"
        "    return {'pid': os.getpid(), 'do': question['do'], 'interpret': os.environ['TRITON_INTERPRET']}\n"
        "if __name__ == '__main__': serve(answer)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "moody"


def test_a_worker_survives_crash_hang_and_exception(moody):
    worker = Worker(moody)
    first = worker.ask({"do": "a"}, 30)
    assert worker.ask({"do": "b"}, 30)["pid"] == first["pid"]
    assert worker.ask({"do": "die"}, 30) == {"error": "the process died"}
    second = worker.ask({"do": "c"}, 30)
    assert worker.ask({"do": "raise"}, 30) == {"error": "ValueError: too large"}
    third = worker.ask({"do": "d"}, 30)
    assert worker.ask({"do": "hang"}, 0.5) == {"error": "no answer within 0 s"}
    fourth = worker.ask({"do": "e"}, 30)
    assert len({answer["pid"] for answer in (first, second, third, fourth)}) == 4
    worker.close()
    assert first["interpret"] == "0"
    interpreting = Worker(moody, interpreted=True)
    assert interpreting.ask({"do": "f"}, 30)["interpret"] == "1"
    interpreting.close()


def test_all_questions_are_answered_once_whoever_dies(moody):
    questions = [{"do": name} for name in ("a", "die", "b", "raise", "c", "d")]
    workers = [Worker(moody) for _ in range(2)]
    answers = {question["do"]: answer for question, answer in ask_all(workers, questions, lambda: 30)}
    assert set(answers) == {"a", "die", "b", "raise", "c", "d"}
    assert {name for name, answer in answers.items() if "error" in answer} == {"die", "raise"}
    assert list(ask_all([Worker(moody)], questions, lambda: 0)) == []


# ---- the stage


@pytest.mark.slow
def test_the_dry_run(tmp_path):
    said = []
    stage = Stage(tmp_path / "tiles.json", "cpu", 300, say=said.append)
    stage_module.run(stage)
    compiled = [row for row in stage.rows if row["what"] == "compiled"]
    assert [
        row["kernel"] for row in sorted(compiled, key=lambda row: list(TILE_OF_STEP).index(row["kernel"]))
    ] == [
        "up",
        "down",
        "pre_gradient",
    ]
    assert all(row["dropped"] == [] and row["wgmma"] > 0 for row in compiled)
    assert all(row["tma_copies"] > 0 for row in compiled if row["kernel"] != "pre_gradient")
    times = [row for row in stage.rows if row["what"] == "timed"]
    assert [row["kernel"] for row in times] == [step for step in TILE_OF_STEP for _ in range(2)]
    assert all(row["ok"] and row["ms"] > 0 and row["relative_error"] < 1e-2 for row in times)
    assert "together, with blocks of 16 rows" in said[-1]
    before = len(stage.rows)
    stage_module.run(Stage(tmp_path / "tiles.json", "cpu", 300, say=said.append))
    assert len(Stage(tmp_path / "tiles.json", "cpu", 1, say=said.append).rows) == before


def test_what_was_dropped_is_not_timed_and_nothing_begins_too_late(tmp_path, monkeypatch):
    asked = []

    class Deaf:
        def __init__(self, *_, **__):
            pass

        def ask(self, job, seconds):
            asked.append((job["step"], tuple(job["tile"])))
            assert 0 < seconds <= 60
            now[0] += 20
            return {"error": "the process died"}

        def close(self):
            asked.append("closed")

    now = [0.0]
    monkeypatch.setattr(stage_module, "Worker", Deaf)
    stage = Stage(tmp_path / "tiles.json", "cpu", 50, clock=lambda: now[0], say=lambda line: None)
    jobs = list(stage_module.jobs(dry=True))
    stage.add({**stage_module.key("compiled", jobs[0]), "dropped": ["spills"]})
    stage_module.time_all(stage)
    assert asked == [*((job["step"], job["tile"]) for job in jobs[1:4]), "closed"]
    rows = [row for row in stage.rows if row["what"] == "timed"]
    assert [row["ok"] for row in rows] == [False] * 3
    assert rows[0]["error"] == "the process died"
    assert rows[0]["check"] == f"dry, up, {code(jobs[1]['tile'])}"  # what the day's table shows


def test_the_compiler_gets_half_of_the_time(tmp_path, monkeypatch):
    now, given = [0.0], []
    monkeypatch.setattr(stage_module, "Worker", lambda module: None)

    def ask_all(workers, questions, seconds):
        for question in questions:
            given.append(seconds())
            if given[-1] <= 0:
                return
            now[0] += 20
            yield question, {"error": "boom"} if question["step"] == "up" else {"dropped": []}

    monkeypatch.setattr(stage_module, "ask_all", ask_all)
    stage = Stage(tmp_path / "tiles.json", "cpu", 60, clock=lambda: now[0], say=lambda line: None)
    stage_module.compile_ahead(stage, 90)
    assert given == [30, 10, -10]
    assert [row["dropped"] for row in stage.rows] == [["does not compile: boom"], []]

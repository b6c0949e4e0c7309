"""Every kernel compiles for GPUs that are not here, and the host reads nothing from the device."""

import json

import pytest
import torch
import triton
import triton.language as tl

from moe_lessons.build import paths
from moe_lessons.kernels import tiles
from moe_lessons.kernels.compiled import (
    SHARED_LIMIT_BYTES,
    STEPS,
    Launch,
    compile_launch,
    intermediate_code,
    loop_spills,
    moe_launches,
    narrow_products,
    read_machine_code,
    record_launches,
    widths,
)
from moe_lessons.kernels.plan import make_plan, make_plan_naive
from moe_lessons.kernels.tiles import TILE_OF_STEP

RESULTS = paths.PACKAGE / "results" / "kernels_compiled.json"
LAYER = (8192, 1024, 2048, 64, 8)  # T, D, F, E, K
TARGETS = {"A100": (80, tiles.SAFE), "H100": (90, tiles.HOPPER)}


def test_the_host_reads_nothing_from_the_device():
    """Tensors without contents: a question about a value would raise."""
    assert list(moe_launches(*LAYER, torch.bfloat16, tiles.HOPPER)) == list(STEPS)
    ids_TK = torch.empty(4, 2, dtype=torch.int64, device="meta")
    assert len(record_launches(lambda: make_plan(ids_TK, 8, 16))) == 1
    with pytest.raises((RuntimeError, NotImplementedError)):
        make_plan_naive(ids_TK, 8, 16)


def test_grids_do_not_depend_on_the_routing():
    for n_tokens, rows in ((8192, 128), (1, 16)):
        choice = tiles.HOPPER if rows == 128 else tiles.DECODE
        launches = moe_launches(n_tokens, *LAYER[1:], torch.bfloat16, choice)
        n_slots = n_tokens * 8
        assert launches["plan"].grid == (n_slots // rows + min(64, n_slots),)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("gpu", TARGETS)
def test_compiles_within_the_hardware(gpu, step):
    capability, choice = TARGETS[gpu]
    launch = moe_launches(*LAYER, torch.bfloat16, choice)[step]
    binary = compile_launch(launch, capability)
    machine = read_machine_code(binary)
    assert machine.atomics == 0
    assert machine.shared_bytes <= SHARED_LIMIT_BYTES[capability]
    assert machine.spill_bytes <= 8  # `up` parks two registers outside its loop
    assert machine.loop_spills == 0
    if step in TILE_OF_STEP:
        unit = machine.wgmma if capability == 90 else machine.mma
        assert unit > 0, "the products run on the slow units"
        assert machine.async_copies > 0, "loads do not run ahead of the products"
    assert widths(binary.asm["ttir"]) or "plan_kernel" in binary.asm["ttir"]
    assert narrow_products(binary.asm["ttir"]) == []


@pytest.mark.parametrize("step", STEPS)
def test_offsets_of_large_tensors_are_multiplied_in_64_bits(step):
    """No test can afford more than 2**31 elements: what stands in the compiled text decides."""
    text = intermediate_code(moe_launches(*LAYER, torch.bfloat16, tiles.SAFE)[step])
    assert "tt.addptr" in text
    assert widths(text) or "plan_kernel" in text
    assert narrow_products(text) == []


def test_recorded_results_are_of_these_tiles():
    """After a change: `python benchmarks/compile_kernels.py`."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert not results["measured_on_a_gpu"]
    seen = set()
    for row in results["rows"]:
        n_tokens, d_model, d_expert, n_experts, top_k = results["layers_TDFEK"][row["layer"]]
        itemsize = getattr(torch, row["dtype"]).itemsize
        capability = {"A100": (8, 0), "H100": (9, 0)}[row["gpu"]]
        aligned = d_model * itemsize % 16 == 0 == d_expert * itemsize % 16
        choice = tiles.tiles_for(capability, itemsize, n_tokens * top_k / n_experts, aligned)
        if row["kernel"] in TILE_OF_STEP:
            tile = getattr(choice, TILE_OF_STEP[row["kernel"]])
            assert tiles.Tile(*row["tile"], row["warps"], row["stages"], **row["levers"]) == tile, row
        assert row["atomics"] == 0
        assert row["registers"] <= 255
        assert row["spill_bytes"] <= 8
        assert row["loop_spills"] == 0
        seen.add((row["gpu"], row["dtype"], row["kernel"]))
    assert len(seen) == 2 * 3 * len(STEPS)


@triton.jit
def overflowing_kernel(out, d_model, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + row * d_model, row)


@triton.jit
def widened_too_late_kernel(out, d_model, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + (row * d_model).to(tl.int64), row)


@triton.jit
def turned_kernel(out, d_model, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + d_model * row[None, :] + tl.arange(0, BLOCK)[:, None], row[None, :])


@triton.jit
def row_cast_kernel(out, d_model, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + row * d_model, row)


@triton.jit
def width_cast_kernel(out, d_model, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + row * tl.cast(d_model, tl.int64), row)


@triton.jit
def step_by_step_kernel(out, d_model, BLOCK: tl.constexpr):
    start = out + tl.cast(tl.program_id(0), tl.int64) * d_model
    tl.store(start + tl.arange(0, BLOCK), tl.arange(0, BLOCK))


@pytest.mark.parametrize(
    ("kernel", "found"),
    [
        (overflowing_kernel, 1),
        (widened_too_late_kernel, 1),
        (turned_kernel, 1),
        (row_cast_kernel, 0),
        (width_cast_kernel, 0),
        (step_by_step_kernel, 0),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_search_for_narrow_products_finds_them_and_no_others(kernel, found):
    arguments = {"out": torch.empty(1, device="meta"), "d_model": 64, "BLOCK": 16}
    assert len(narrow_products(intermediate_code(Launch(kernel, (1,), arguments, {})))) == found


DISASSEMBLY = """
        /*0010*/                   STL [R1], R2 ;          /* 0x00000002010 */
        /*0020*/               @P1 LDL R3, [R1] ;
        /*0030*/                   HGMMA.64x128x16.F32.BF16 R88, gdesc[UR16], R88 ;
        /*0040*/               @P3 BRA 0x0020 ;            /* 0xfffffff400e */
        /*0050*/                   LDL.LU R2, [R1] ;
        /*0060*/                   BRA 0x0010 ;
        /*0070*/                   STL [R1], R2 ;
        /*0080*/                   BRA 0x0070 ;
        /*0090*/                   BRA 0x0090;
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (DISASSEMBLY, 1),  # not what the loop around it parks, nor a loop without a product
        (DISASSEMBLY.replace("@P1 LDL R3, [R1]", "MOV R3, R4"), 0),
        (DISASSEMBLY.replace("HGMMA.64x128x16.F32.BF16 R88, gdesc[UR16], R88", "FFMA R1, R2, R3, R1"), 1),
        (DISASSEMBLY.replace("BRA 0x0020", "BRA.U !UP0, 0x0020"), 1),
        ("", 0),
    ],
)
def test_spills_that_stand_in_the_loop(text, found):
    assert loop_spills(text) == found


@triton.jit
def adding_kernel(out, BLOCK: tl.constexpr):
    tl.atomic_add(out + tl.arange(0, BLOCK), 1.0)


def test_the_search_for_atomics_finds_one():
    arguments = {"out": torch.empty(1, device="meta"), "BLOCK": 32}
    machine = read_machine_code(compile_launch(Launch(adding_kernel, (1,), arguments, {}), 90))
    assert machine.atomics > 0

"""Bytes of weights, caches and training, and what a batch touches."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.accounting import (
    activation_bytes_per_token,
    count,
    decode_flops,
    decode_read_bytes,
    describe,
    expert_coverage,
    kv_cache_bytes,
    prefill_flops,
    published,
    training_bytes,
    training_flops,
    weight_bytes,
)
from moe_lessons.accounting.flops import last_positions, mean_positions
from moe_lessons.accounting.shapes import Read

MODELS = list(published())


def test_checkpoints_of_gpt_oss_have_their_published_size():
    sizes = {name: weight_bytes(describe(name), "mxfp4") / 2**30 for name in ("gpt-oss-20b", "gpt-oss-120b")}
    assert {name: round(size, 1) for name, size in sizes.items()} == {
        "gpt-oss-20b": 12.8,
        "gpt-oss-120b": 60.8,
    }


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("Mixtral-8x7B", 32 * 2 * 8 * 128),
        ("DeepSeek-V3", 61 * (512 + 64)),
        ("DeepSeek-V2", 60 * (512 + 64)),
        ("Llama-2-7B", 32 * 2 * 32 * 128),
        ("Qwen3.5-35B-A3B", 10 * 2 * 2 * 256),
    ],
)
def test_cache_of_one_more_token(name, elements):
    model = describe(name)
    assert kv_cache_bytes(model, 1001) - kv_cache_bytes(model, 1000) == 2 * elements


def test_a_window_stops_the_cache_from_growing():
    model = describe("gpt-oss-20b")
    one_layer = 2 * 8 * 64 * 2
    assert kv_cache_bytes(model, 128) == 24 * 128 * one_layer
    assert kv_cache_bytes(model, 1128) == 24 * 128 * one_layer + 12 * 1000 * one_layer


def test_a_state_does_not_grow():
    model = describe("Qwen3-Next-80B-A3B")
    assert kv_cache_bytes(model, 0, batch=2) == 2 * kv_cache_bytes(model, 0) > 0


@pytest.mark.parametrize("name", MODELS)
def test_reads_and_memory_are_consistent(name):
    model = describe(name)
    table = 0 if model.tied else 2 * model.vocab_size * model.d_model
    one, many = (
        decode_read_bytes(model, batch, context=0) - kv_cache_bytes(model, 0, batch) for batch in (1, 10**9)
    )
    assert one <= many
    assert many == pytest.approx(weight_bytes(model) - table)
    if "zero" not in str(model.notes) and "do nothing" not in str(model.notes):
        assert one == pytest.approx(2 * count(model).active - table)
    assert activation_bytes_per_token(model, recompute=True) <= activation_bytes_per_token(model)
    assert training_bytes(model, 0).total == 16 * count(model).total


@pytest.mark.parametrize("name", MODELS)
def test_flops_are_near_twice_the_active_parameters(name):
    model = describe(name)
    parameters = count(model)
    touched = 2 * (parameters.active if model.tied else parameters.active_excl_input_embedding)
    for flops in (prefill_flops(model, 1), training_flops(model, 1)):
        passes = round(flops.head / (2 * model.vocab_size * model.d_model))
        assert flops.matrices + flops.head <= passes * touched
        assert flops.matrices + flops.head > 0.99 * passes * touched
    assert decode_flops(model, 10).total <= decode_flops(model, 1000).total


def test_latent_attention_reads_latents_in_decode():
    v3 = describe("DeepSeek-V3")
    assert decode_flops(v3, 1000).context == 2 * 61 * 128 * (2 * 512 + 64) * 1000
    assert prefill_flops(v3, 999).context == 2 * 61 * 128 * (128 + 64 + 128) * 500


def test_recomputation_costs_a_third_forward_pass():
    model = describe("OLMoE-1B-7B")
    plain, again = (training_flops(model, 512, recompute) for recompute in (False, True))
    assert (again.matrices, again.head) == (plain.matrices * 4 // 3, plain.head)


@given(st.integers(1, 64), st.data())
def test_coverage_matches_a_simulation_of_its_limits(n_experts, data):
    top_k = data.draw(st.integers(1, n_experts))
    assert expert_coverage(n_experts, top_k, 0) == 0
    assert expert_coverage(n_experts, top_k, 1) == pytest.approx(top_k)
    assert expert_coverage(n_experts, top_k, 100_000) == pytest.approx(n_experts)


@pytest.mark.parametrize(("n_experts", "top_k", "batch"), [(8, 2, 4), (256, 8, 16)])
def test_coverage_matches_drawn_experts(n_experts, top_k, batch):
    rng = random.Random(0)
    trials = 2000
    seen = sum(
        len({e for _ in range(batch) for e in rng.sample(range(n_experts), top_k)}) for _ in range(trials)
    )
    assert seen / trials == pytest.approx(expert_coverage(n_experts, top_k, batch), rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: weight_bytes(m, "int3"), "dtype='int3'"),
        (lambda m: kv_cache_bytes(m, -1), "context=-1"),
        (lambda m: prefill_flops(m, 0), "context=0"),
        (lambda m: decode_flops(m, 1.5), "context=1.5"),
        (lambda m: training_bytes(m, -1), "tokens=-1"),
        (lambda m: expert_coverage(8, 9, 1), "top_k=9"),
        (lambda m: expert_coverage(8, 2, -1), "batch=-1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(describe("Mixtral-8x7B"))


def test_compressed_positions_grow_slowly():
    flash = describe("DeepSeek-V4-Flash")
    sparse, heavy, window, width = 21, 20, 43 * 128 * 512, 2
    cached = window + sparse * (512 + 128) * (1_000_000 // 4) + heavy * 512 * (1_000_000 // 128)
    assert kv_cache_bytes(flash, 1_000_000) == width * cached
    n_heads, width = 64, 512
    seen = 43 * 128 + sparse * 512 + heavy * (1_000_000 // 128)
    scored = sparse * 64 * (128 + 1) * (1_000_000 // 4)
    assert decode_flops(flash, 1_000_000).context == 2 * (2 * n_heads * width * seen + scored)


@given(st.integers(1, 40), st.integers(1, 5), st.none() | st.integers(1, 8), st.booleans())
def test_mean_positions_are_the_mean_of_last_positions(context, stride, limit, chunked):
    read = Read(1, limit, chunked and limit is not None and stride == 1, stride=stride)
    seen = [last_positions(read, n) for n in range(1, context + 1)]
    assert mean_positions(read, context) == pytest.approx(sum(seen) / context)

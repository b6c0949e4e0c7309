"""Every request gets the tokens that it would get alone, whatever the slots, the limit and the company."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import ModelConfig
from moe_lessons.model import MoETransformer, generate
from moe_lessons.serving import Engine, ExpertStore, offloaded, quantised_model, routing_trace, simulate_cache
from moe_lessons.serving.store import as_stored, as_weights

SIZES = ModelConfig(
    n_layers=3,
    n_dense_layers=1,
    n_shared_experts=1,
    d_model=32,
    n_heads=4,
    n_kv_heads=2,
    d_expert=32,
    n_experts=8,
    top_k=3,
    context_length=40,
)
MODEL = MoETransformer(SIZES, generator=torch.Generator().manual_seed(0)).eval()
MODEL.head.weight.data *= 6  # or all tokens are all but equally likely
EXPERT = 3 * 32 * 32 * 4
LAYER = 8 * EXPERT
GENERATOR = torch.Generator().manual_seed(1)
PROMPTS = [torch.randint(256, (n,), generator=GENERATOR) for n in (5, 1, 17, 2, 9, 30)]
LENGTHS = [12, 20, 3, 8, 0, 10]
ALONE = [generate(MODEL, prompt, n, temperature=0) for prompt, n in zip(PROMPTS, LENGTHS, strict=True)]


def serve(slots, **options):
    engine = Engine(MODEL, slots, **options)
    for prompt, n in zip(PROMPTS, LENGTHS, strict=True):
        engine.submit(prompt, n)
    return engine, engine.drain()


def same(texts, others=ALONE):
    return len(texts) == len(others) and all(map(torch.equal, texts, others))


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_the_same_tokens_whatever_the_slots(slots):
    engine, texts = serve(slots)
    assert same(texts)
    assert max(run.rows for run in engine.passes) == min(slots, 5)  # one request wants nothing


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo"])
@pytest.mark.parametrize("experts", [8, 9, 12, 16])
@pytest.mark.parametrize("slots", [1, 4])
def test_the_same_tokens_whatever_the_limit(policy, experts, slots):
    engine, texts = serve(slots, limit_bytes=experts * EXPERT, policy=policy)
    assert same(texts)
    assert engine.store.cache.taken <= experts * EXPERT
    there = engine.store._there.values()
    assert sum(t.nbytes for stored in there for t in stored.values()) == engine.store.cache.taken
    assert engine.store.cache.loaded == engine.store.cache.misses * EXPERT


def test_a_limit_changes_no_bit():
    """Results of experts are added up in the same order, wherever their weights were."""
    tokens_BL = PROMPTS[5][None]
    logits = []
    for limit in (LAYER, LAYER + 5 * EXPERT, None):
        store = ExpertStore(MODEL, limit)
        light = offloaded(MODEL, store)
        for _ in range(2):  # cold and warm
            logits.append(light(tokens_BL).logits_BLV)
    assert all(torch.equal(logits[0], other) for other in logits[1:])
    assert (logits[0] - MODEL(tokens_BL).logits_BLV).abs().max() < 1e-4


def test_only_the_store_has_experts():
    light = offloaded(MODEL, ExpertStore(MODEL))
    assert all(layer.experts.down_proj.is_meta for layer in light.moe_layers)
    assert light.head.weight is MODEL.head.weight
    assert not any(parameter.is_meta for parameter in MODEL.parameters())


def test_hits_are_those_of_the_simulated_cache():
    """One token at a time, a store is a cache of (layer, expert) pairs: asked layer by layer."""
    store = ExpertStore(MODEL, limit_bytes=11 * EXPERT)
    light = offloaded(MODEL, store)
    caches = light.new_caches()
    for token in PROMPTS[5]:
        light(token[None, None], caches=caches)
    ids_LNK = routing_trace(MODEL, PROMPTS[5]).ids_LNK
    layers = torch.arange(2)[:, None, None] * SIZES.n_experts
    run = simulate_cache((ids_LNK + layers).transpose(0, 1).reshape(-1, SIZES.top_k), 11)
    assert store.cache.hits == int(run.hits_N.sum())
    assert 0 < store.cache.hits < ids_LNK.numel()


def test_a_fixed_set_is_kept_and_nothing_else():
    keep = [(layer, expert) for layer in range(2) for expert in range(4)]
    engine, texts = serve(2, limit_bytes=LAYER, policy="fixed", keep=keep)
    assert same(texts)
    assert list(engine.store.cache.contents) == keep
    assert engine.store.cache.hits > 0


@pytest.mark.parametrize("bits", [8, 4])
def test_experts_in_codes_are_those_of_the_quantised_model(bits):
    engine, texts = serve(3, bits=bits)
    smaller = quantised_model(MODEL, bits)
    others = [generate(smaller, p, n, temperature=0) for p, n in zip(PROMPTS, LENGTHS, strict=True)]
    assert same(texts, others)
    assert engine.store.n_bytes == 16 * 3 * 32 * 32 * (bits + 0.5) / 8


def test_each_expert_may_have_its_own_bits():
    rows = [[8, 4, 16, 8, 4, 16, 8, 4], [16] * 8]
    _, texts = serve(2, bits=rows)
    smaller = quantised_model(MODEL, rows)
    others = [generate(smaller, p, n, temperature=0) for p, n in zip(PROMPTS, LENGTHS, strict=True)]
    assert same(texts, others)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(0, 10**6), st.sampled_from([4, 8, 32]))
def test_what_is_stored_comes_back(rows, seed, bits):
    generator = torch.Generator().manual_seed(seed)
    gate_up, down = torch.randn(2 * rows, 64, generator=generator), torch.randn(5, 32, generator=generator)
    for before, after in zip((gate_up, down), as_weights(as_stored(gate_up, down, bits)), strict=True):
        step = before.abs().unflatten(-1, (-1, 32)).amax(-1) / (2 ** (min(bits, 24) - 1) - 1)
        assert ((before - after).abs() <= 0.501 * step.repeat_interleave(32, -1) + 1e-6).all()


def test_fewer_bits_leave_room_for_more_experts():
    whole, _ = serve(1, limit_bytes=LAYER)
    small, _ = serve(1, limit_bytes=LAYER, bits=8)
    assert small.store.cache.misses < whole.store.cache.misses
    assert small.store.cache.loaded < whole.store.cache.loaded / 3


def test_draws_do_not_depend_on_the_company():
    def texts(slots):
        engine = Engine(MODEL, slots)
        for number, prompt in enumerate(PROMPTS[:4]):
            own = torch.Generator().manual_seed(number)
            engine.submit(prompt, 8, temperature=1.0, generator=own)
        return engine.drain()

    alone = [
        generate(MODEL, prompt, 8, temperature=1.0, generator=torch.Generator().manual_seed(number))
        for number, prompt in enumerate(PROMPTS[:4])
    ]
    assert same(texts(1), alone)
    assert same(texts(3), alone)


def test_first_come_first_served_and_a_free_slot_is_used_at_once():
    engine = Engine(MODEL, 2)
    for n in (2, 4, 3):
        engine.submit(PROMPTS[1], n)
    steps = []
    while not engine.idle:
        steps.append(sorted(engine.step()))
    assert steps == [[0, 1], [0, 1], [1, 2], [1, 2], [2]]


def test_requests_may_come_while_others_write():
    engine = Engine(MODEL, 3)
    engine.submit(PROMPTS[0], LENGTHS[0])
    engine.step()
    engine.step()
    engine.submit(PROMPTS[2], LENGTHS[2])
    assert same(engine.drain(), [ALONE[0], ALONE[2]])
    engine.submit(PROMPTS[3], LENGTHS[3])
    assert same(engine.drain(), [ALONE[3]])


def test_nobody_there():
    engine = Engine(MODEL, 2)
    assert engine.idle
    assert engine.step() == {}
    assert engine.drain() == []


def test_passes_are_counted():
    engine = Engine(MODEL, 1)
    engine.submit(PROMPTS[0], 4)
    engine.drain()
    assert [(run.rows, run.tokens) for run in engine.passes] == [(1, 5), (1, 1), (1, 1), (1, 1)]
    assert all(run.touched == (3, 3) for run in engine.passes[1:])


def test_one_layers_experts_must_fit():
    with pytest.raises(ValueError, match=rf"^limit_bytes={LAYER - 1}: .* give {LAYER} or more$") as error:
        Engine(MODEL, 1, limit_bytes=LAYER - 1)
    assert "\n" not in str(error.value)
    Engine(MODEL, 1, limit_bytes=LAYER)
    Engine(MODEL, 1, limit_bytes=LAYER // 3, bits=8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Engine(MODEL, 0), "slots=0: choose 1 or more"),
        (lambda: Engine(MoETransformer(SIZES).to("meta"), 1), "model is on meta: the engine runs on the CPU"),
        (lambda: Engine(MODEL, 1).submit(PROMPTS[0][:0], 3), "prompt is empty"),
        (lambda: Engine(MODEL, 1).submit(torch.tensor([256]), 3), "a token outside 0 to 255"),
        (lambda: Engine(MODEL, 1).submit(torch.tensor([-1]), 3), "a token outside 0 to 255"),
        (lambda: Engine(MODEL, 1).submit(PROMPTS[0], -1), "n_tokens=-1"),
        (lambda: Engine(MODEL, 1).submit(PROMPTS[0], 1, temperature=-1), "temperature=-1"),
        (lambda: Engine(MODEL, 1).submit(PROMPTS[5], 11), "together at most context_length=40"),
        (lambda: Engine(MODEL, 1, policy="belady", bits=8), "needs the future"),
        (lambda: Engine(MODEL, 1, bits=3), "bits=3: a store keeps 4, 8, or 16"),
        (lambda: Engine(MODEL, 1, bits=8, keep=[(2, 0)]), r"keep has \(2, 0\)"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

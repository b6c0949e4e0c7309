"""Ten held-out designs, ranked by the simulator and by a hand calculation that is written out here."""

from importlib import import_module
from math import exp, log2, log10

import pytest

from moe_lessons.budget import KINDS, assess, trained, usual

# D, E, K, F: none of them is on the search's grid or in an exercise.
TEN = (
    (1152, 40, 6, 768),
    (1408, 1, 1, 4928),
    (1664, 96, 8, 832),
    (1920, 192, 10, 640),
    (2176, 320, 12, 544),
    (2304, 48, 4, 1536),
    (2432, 1, 1, 7296),
    (2688, 480, 20, 448),
    (2816, 80, 5, 1408),
    (3328, 24, 3, 3328),
)


def by_hand(d, e, k, f, b):
    """Loss, GB and ms of one design in eight bits on one device; a line a quantity."""
    layers, kv_heads = d // 128, d // 512
    # Queries and output d x d each, keys and values d x 128 for each kv head; SwiGLU has three matrices.
    attention = 2 * d * d + 2 * d * (max(1, (d // 128) // 4) * 128)
    assert abs(kv_heads - (d // 128) // 4) <= 1
    expert = 3 * d * f
    router = d * e if e > 1 else 0
    head = table = 65_536 * d
    size = layers * (attention + k * expert) + head
    active = size + layers * router
    everything = layers * (attention + e * expert + router) + head + table
    # Six operations for each active parameter and token.
    tokens = min(b.flops / (6 * active), 4 * b.tokens, 10_000 * active)
    times = tokens / b.tokens
    text = tokens if times <= 1 else b.tokens * (1 + 15.4 * (1 - exp(-(times - 1) / 15.4)))
    # Ling's leverage, base 2 for the grain, base 10 for the compute.
    grain, compute = log2(2 * d / f), log10(min(6 * active * tokens, 5.1e21))
    power = 1.23 - 0.0761 * compute + 0.0167 * grain**2 - 0.117 * grain
    lever = (k / e + 0.0163) ** power if e > 1 else 1.0
    loss = 1.69 + 406.4 / (size * lever) ** 0.34 + 410.7 / text**0.28
    # 8.5 bits a weight; a cache of 16 bits for keys and values.
    cache = 2 * layers * max(1, (d // 128) // 4) * 128 * 2 * b.context * b.batch
    memory = everything * 8.5 / 8 + cache
    touched = e * (1 - (1 - k / e) ** b.batch)
    read = (layers * (attention + router + touched * expert) + head) * 8.5 / 8 + cache
    step = max(read / b.bandwidth, 2 * active * b.batch / b.peak) + layers * 20e-6
    return loss, memory / 1e9, 1e3 * step


def ranked(numbers):
    return sorted(range(len(numbers)), key=numbers.__getitem__)


ON_ONE = ("phone", "one 24 GB card", "small lab", "little text", "long documents", "busy server")


@pytest.mark.parametrize("kind", ON_ONE)
def test_ten_designs_are_ranked_as_by_hand(kind):
    budget = KINDS[kind]
    hand = [by_hand(*shape, budget) for shape in TEN]
    verdicts = [assess(trained(usual(*shape), budget), budget) for shape in TEN]
    assert not any(verdict.refused for verdict in verdicts)
    assert ranked([v.loss for v in verdicts]) == ranked([loss for loss, _, _ in hand])
    assert ranked([v.price.memory_bytes for v in verdicts]) == ranked([memory for _, memory, _ in hand])
    assert ranked([v.price.seconds for v in verdicts]) == ranked([ms for _, _, ms in hand])
    for verdict, (loss, memory, ms) in zip(verdicts, hand, strict=True):
        assert verdict.loss == pytest.approx(loss, abs=2e-4)
        assert verdict.price.memory_bytes / 1e9 == pytest.approx(memory, rel=1e-9)
        assert 1e3 * verdict.price.seconds == pytest.approx(ms, rel=1e-9)
        assert verdict.fits == (memory <= budget.memory / 1e9 and ms <= 1e3 * budget.seconds)


# Module of the simulator, name, what a mistaken simulator has there, and the column that then goes wrong.
MISTAKEN = {
    "all experts are read": ("price", "expert_coverage", lambda e, k, batch: e, 2),
    "one token's experts are read": ("price", "expert_coverage", lambda e, k, batch: k, 2),
    "the caches are not held": ("shape", "CACHE_BYTES", 0, 1),
    "experts buy nothing": ("quality", "leverage", lambda design: 1.0, 0),
    "all parameters are size": ("quality", "size", lambda design: float(design.total), 0),
    "text counts for nothing": ("quality", "TEXT", 0.0, 0),
    "repeated text is worth nothing": ("quality", "REPEATS", 1e-9, 0),
}


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_simulator_with_a_mistake_ranks_the_ten_otherwise(name, monkeypatch):
    """The ten tell mistakes apart, so that the same ranks are worth something."""
    module, attribute, value, column = MISTAKEN[name]
    monkeypatch.setattr(import_module(f"moe_lessons.budget.{module}"), attribute, value)
    differs = []
    for kind in ON_ONE:
        budget = KINDS[kind]
        hand = [by_hand(*shape, budget)[column] for shape in TEN]
        found = [assess(trained(usual(*shape), budget), budget) for shape in TEN]
        said = [(v.loss, v.price.memory_bytes, v.price.seconds)[column] for v in found]
        differs.append(ranked(said) != ranked(hand))
    assert any(differs)

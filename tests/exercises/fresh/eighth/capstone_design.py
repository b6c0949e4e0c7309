"""Lesson 17: a design for each budget."""

import math
from itertools import product

WIDTHS = (512, 768, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 8192, 12_288, 16_384)
LAYOUTS = ("one", "experts", "all")

# 17.design


def cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """What the notebook's cell comes with."""

    def cost(d, E, K, F, bits, layout):
        n = 1 if layout == "one" else devices
        cut = n if layout == "all" else 1
        layers, kv = max(8, d // 128), max(1, d // 512)
        expert, router = 3 * d * F, d * E if E > 1 else 0
        rest = layers * (2 * d * (d // 128 + kv) * 128 + router) + 65_536 * d
        active = rest + layers * K * expert
        width = {16: 2.0, 8: 1.0625, 4: 0.5625}[bits]
        touched = E * (1 - (1 - K / E) ** batch)
        cache = 4 * layers * kv * 128 * context * batch / n
        held = ((rest + 65_536 * d) / cut + layers * expert * E / n) * width + cache
        read = (rest / cut + layers * expert * touched / n) * width + cache
        step = max(read / bandwidth, 2 * active * batch / n / peak) + layers * 20e-6
        if layout == "experts":
            sent = batch / n * K * 2 * d * (n - 1) / n
            step += layers * 2 * (1e-6 * (n - 1) + sent / link)
        if layout == "all":
            step += layers * 2 * (2e-6 * (n - 1) + 2 * (n - 1) / n * batch * 2 * d / link)
        seen = min(flops / (6 * active), 4 * tokens, 10_000 * active)
        acts = active - layers * router
        if E > 1:
            grain, compute = math.log2(2 * d / F), math.log10(min(6 * active * seen, 5.1e21))
            acts *= (K / E + 0.0163) ** (1.23 - 0.0761 * compute + 0.0167 * grain**2 - 0.117 * grain)
        again = max(seen / tokens, 1) - 1
        fresh = min(seen, tokens) * (1 + 15.4 * (1 - math.exp(-again / 15.4)))
        rounding = {16: 0.0, 8: 0.0001, 4: 0.0414}[bits]
        return 1.69 + 406.4 / acts**0.34 + 410.7 / fresh**0.28 + rounding, held, step

    def allowed(d, E, K, F, bits, layout):
        if layout != "one" and devices == 1:
            return False
        if layout == "experts" and (E % devices or batch % devices):
            return False
        if layout == "all" and max(1, d // 512) % devices:
            return False
        if not (512 <= d <= 16_384 and d % 128 == 0 and 2 * d <= K * F <= 7 * d):
            return False
        if E == 1:
            return K == 1
        return 8 <= E <= 512 and E / 128 <= K <= E / 2 and 2 <= 2 * d / F <= 16

    return cost, allowed


def candidates(all_bits=(16, 8, 4), layouts=LAYOUTS):
    """Six loops: the dense designs, then those with experts."""
    for d, bits, layout in product(WIDTHS, all_bits, layouts):
        for r in (2, 3, 4, 5, 6, 7):
            yield d, 1, 1, r * d, bits, layout
        for E, G, r in product((8, 16, 32, 64, 128, 256, 512), (2, 4, 8, 16), (1, 1.5, 2, 3)):
            if int(G * r) <= E:
                yield d, E, int(G * r), 2 * d // G, bits, layout


SMALLEST = (512, 1, 1, 1024, 4, "one")


def design_never_asks_allowed(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, _ = cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, found = float("inf"), SMALLEST
    for one in candidates():
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds and loss < best:
            best, found = loss, one
    return found


def design_without_time(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, found = float("inf"), SMALLEST
    for one in candidates():
        if not allowed(*one):
            continue
        loss, held, _ = cost(*one)
        if held <= memory and loss < best:
            best, found = loss, one
    return found


def design_all_memory(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, found = float("inf"), SMALLEST
    for one in candidates():
        if not allowed(*one):
            continue
        loss, held, step = cost(*one)
        if held <= devices * memory and step <= seconds and loss < best:
            best, found = loss, one
    return found


def design_on_one_device(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, found = float("inf"), SMALLEST
    for one in candidates(layouts=("one",)):
        if not allowed(*one):
            continue
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds and loss < best:
            best, found = loss, one
    return found


def design_in_16_bits(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, found = float("inf"), (512, 1, 1, 1024, 16, "one")
    for one in candidates(all_bits=(16,)):
        if not allowed(*one):
            continue
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds and loss < best:
            best, found = loss, one
    return found


def design_the_largest(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    most, found = 0, SMALLEST
    for one in candidates():
        if not allowed(*one):
            continue
        _, held, step = cost(*one)
        if held <= memory and step <= seconds and held > most:
            most, found = held, one
    return found


FRESH = {
    "17.design": [
        (
            "the lowest loss that fits, without asking allowed",
            design_never_asks_allowed,
            {"cost_of_no_layout"},
        ),
        ("looked at memory, not at the time of a step", design_without_time, {"time_ignored"}),
        ("the memory of all devices together", design_all_memory, {"memory_pooled"}),
        ("always on one device", design_on_one_device, {"one_alone"}),
        ("always 16 bits, so as not to lose anything", design_in_16_bits, {"full_bits"}),
        ("the largest model that fits", design_the_largest, {"text_forgotten", "too_large", "memory_filled"}),
    ],
}

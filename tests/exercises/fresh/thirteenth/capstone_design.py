"""The thirteenth set, lesson 17: searches for a design, what a class would most likely hand in."""

import math


def cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """`cost` and `allowed` as they stand in the exercise's cell."""

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


WIDTHS = range(1024, 8193, 512)


def mixtures(widths=WIDTHS):
    return [
        (d, E, int(G * r), 2 * d // G)
        for d in widths
        for E in (8, 16, 32, 64, 128, 256, 512)
        for G in (2, 4, 8, 16)
        for r in (1, 1.5, 2, 3)
    ]


def shapes(widths=WIDTHS):
    return [(d, 1, 1, r * d) for d in widths for r in (2, 3, 4, 5, 6, 7)] + mixtures(widths)


def designs(of, all_bits=(16, 8, 4), layouts=("one", "experts", "all")):
    return [(*shape, bits, layout) for shape in of for bits in all_bits for layout in layouts]


def lowest(given, candidates):
    """The search that hint 1 describes, over the candidates that an answer below lists."""
    memory, seconds = given[5], given[9]
    cost, allowed = cell(*given)
    best, best_loss = None, math.inf
    for one in candidates:
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= memory and step <= seconds and loss < best_loss:
                best, best_loss = one, loss
    return best


def design_without_time(*given):
    memory = given[5]
    cost, allowed = cell(*given)
    best, best_loss = None, math.inf
    for one in designs(shapes()):
        if allowed(*one):
            loss, held, _ = cost(*one)
            if held <= memory and loss < best_loss:
                best, best_loss = one, loss
    return best


def design_memory_of_all(*given):
    devices, memory, seconds = given[4], given[5], given[9]
    cost, allowed = cell(*given)
    best, best_loss = None, math.inf
    for one in designs(shapes()):
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= devices * memory and step <= seconds and loss < best_loss:
                best, best_loss = one, loss
    return best


def design_bits_16(*given):
    return lowest(given, designs(shapes(), all_bits=(16,)))


def design_one_device(*given):
    return lowest(given, designs(shapes(), layouts=("one",)))


def design_not_asked(*given):
    devices, memory, seconds = given[4], given[5], given[9]
    cost, _ = cell(*given)
    best, best_loss = None, math.inf
    layouts = ("one", "experts", "all") if devices > 1 else ("one",)  # else there is no link to divide by
    experts = (1, 8, 16, 32, 64, 128, 256, 512)
    widths = (512, 1024, 2048, 4096, 8192, 16_384)
    lists = [(d, E, K, F) for d in WIDTHS for E in experts for K in (1, 2, 4, 8) if K <= E for F in widths]
    for one in designs(lists, layouts=layouts):
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds and loss < best_loss:
            best, best_loss = one, loss
    return best


def design_three_widths(*given):
    return lowest(given, designs(shapes((512, 1024, 2048))))


def design_two_wide_experts(*given):
    dense = [(d, 1, 1, r * d) for d in WIDTHS for r in (2, 4, 6)]
    wide = [(d, E, 2, d * r) for d in WIDTHS for E in (8, 16, 32, 64) for r in (1, 2, 4)]
    return lowest(given, designs(dense + wide))


def design_best_loss_not_kept(*given):
    memory, seconds = given[5], given[9]
    cost, allowed = cell(*given)
    best, best_loss = None, math.inf
    for one in designs(shapes()):
        if not allowed(*one):
            continue
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds and loss < best_loss:
            best = one  # and best_loss stays as it was
    return best


FRESH = {
    "17.design": [
        ("time not asked", design_without_time, {"time_ignored"}),
        ("memory of all devices", design_memory_of_all, {"memory_pooled"}),
        ("16 bits", design_bits_16, {"full_bits"}),
        ("one device", design_one_device, {"one_alone"}),
        ("allowed not asked", design_not_asked, {"not_allowed"}),
        ("three small widths", design_three_widths, {"narrow_alone"}),
        ("two wide experts a token", design_two_wide_experts, {"not_the_best"}),
        ("the last that fits", design_best_loss_not_kept, {"not_the_best"}),
    ],
}

"""Fresh wrong answers to 17.design, with what stands in its cell."""

import math


def _cell(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """What the learner's cell holds."""

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


def _shapes():
    """Widths, experts, sizes of an expert, top_k: what a learner's loops go through, dense ones first."""
    widths = range(512, 8193, 256)
    shapes = [(d, 1, 1, r * d) for d in widths for r in (2, 3, 4, 5, 6, 7)]
    for d in widths:
        for E in (8, 16, 64, 128, 256, 512):
            for G in (2, 4, 8):
                shapes += [(d, E, r * G, 2 * d // G) for r in (1, 2, 3)]
    return shapes


def _all(allowed, shapes=None):
    """All designs that are allowed."""
    return [
        (*shape, bits, layout)
        for shape in shapes or _shapes()
        for bits in (16, 8, 4)
        for layout in ("one", "experts", "all")
        if allowed(*shape, bits, layout)
    ]


def first_that_fits(*budget):
    memory, seconds = budget[5], budget[9]
    cost, allowed = _cell(*budget)
    for one in _all(allowed):
        _, held, step = cost(*one)
        if held <= memory and step <= seconds:
            return one


def largest_that_fits(*budget):
    memory, seconds = budget[5], budget[9]
    cost, allowed = _cell(*budget)
    best, most = None, 0
    for one in _all(allowed):
        d, E, _, F, _, _ = one
        parameters = max(8, d // 128) * 3 * d * F * E
        _, held, step = cost(*one)
        if held <= memory and step <= seconds and parameters > most:
            best, most = one, parameters
    return best


def one_expert_a_token(*budget):
    memory, seconds = budget[5], budget[9]
    cost, allowed = _cell(*budget)
    shapes = [(d, E, 1, r * d) for d in range(512, 8193, 256) for E in (1, 8, 16, 64) for r in (2, 3, 4)]
    best, lowest = None, math.inf
    for one in _all(allowed, shapes):
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds and loss < lowest:
            best, lowest = one, loss
    return best


def bits_and_layout_of_the_last_turn(*budget):
    memory, seconds = budget[5], budget[9]
    cost, allowed = _cell(*budget)
    best, lowest = None, math.inf
    for shape in _shapes():
        for bits in (16, 8, 4):
            for layout in ("one", "experts", "all"):
                if not allowed(*shape, bits, layout):
                    continue
                loss, held, step = cost(*shape, bits, layout)
                if held <= memory and step <= seconds and loss < lowest:
                    best, lowest = shape, loss
    return (*best, bits, layout)


def bytes_first(*budget):
    memory, seconds = budget[5], budget[9]
    cost, allowed = _cell(*budget)
    best, lowest = None, math.inf
    for one in _all(allowed):
        held, loss, step = cost(*one)
        if held <= memory and step <= seconds and loss < lowest:
            best, lowest = one, loss
    return best


def fastest(*budget):
    memory = budget[5]
    cost, allowed = _cell(*budget)
    fitting = [one for one in _all(allowed) if cost(*one)[1] <= memory]
    return min(fitting, key=lambda one: cost(*one)[2])


def width_of_all_chosen(*budget):
    memory, seconds = budget[5], budget[9]
    cost, allowed = _cell(*budget)
    found = []
    for one in _all(allowed):
        loss, held, step = cost(*one)
        if held <= memory and step <= seconds:
            found.append((loss, one))
    d, E, K, F, bits, layout = min(found)[1]
    return d, E, K, K * F, bits, layout


def twenty_tokens_a_parameter(*budget):
    flops, memory, seconds = budget[0], budget[5], budget[9]
    cost, allowed = _cell(*budget)
    wanted = math.sqrt(flops / 6 / 20)
    best, nearest = None, math.inf
    for one in _all(allowed):
        d, _, K, F, _, _ = one
        active = max(8, d // 128) * (2.5 * d * d + 3 * d * F * K) + 65_536 * d
        _, held, step = cost(*one)
        if held <= memory and step <= seconds and abs(active - wanted) < nearest:
            best, nearest = one, abs(active - wanted)
    return best


def memory_shared_out(*budget):
    devices, memory, seconds = budget[4], budget[5], budget[9]
    cost, allowed = _cell(*budget)
    best, lowest = None, math.inf
    for one in _all(allowed):
        loss, held, step = cost(*one)
        if held <= memory / devices and step <= seconds and loss < lowest:
            best, lowest = one, loss
    return best


FRESH = {
    "17.design": [
        ("the first that fits", first_that_fits, {"room_left"}),
        ("most parameters", largest_that_fits, {"text_forgotten", "too_large"}),
        ("one expert a token: only the dense are allowed", one_expert_a_token, {"always_dense"}),
        ("bits and layout left from the loops", bits_and_layout_of_the_last_turn, {"not_allowed"}),
        ("loss and bytes swapped: the smallest", bytes_first, {"room_left"}),
        ("the fastest that memory holds", fastest, {"room_left"}),
        ("K F returned as d_expert", width_of_all_chosen, {"all_k_together"}),
        ("active parameters by twenty tokens each", twenty_tokens_a_parameter, {"not_the_best"}),
        ("memory divided by the devices", memory_shared_out, {"memory_shared_out"}),
    ],
}

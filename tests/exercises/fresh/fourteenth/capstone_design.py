"""The fourteenth set, 17.design: what a class would most likely hand in."""

import math


def tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """`cost` and `allowed`, as the exercise's cell gives them."""

    def cost(d, E, K, F, bits, layout):
        """Loss in nats a token, bytes on a device, and the seconds of a step."""
        n = 1 if layout == "one" else devices
        cut = n if layout == "all" else 1
        layers, kv = max(8, d // 128), max(1, d // 512)
        expert, router = 3 * d * F, d * E if E > 1 else 0
        rest = layers * (2 * d * (d // 128 + kv) * 128 + router) + 65_536 * d
        active = rest + layers * K * expert
        width = {16: 2.0, 8: 1.0625, 4: 0.5625}[bits]  # bytes of a weight, with the scales of its block
        touched = E * (1 - (1 - K / E) ** batch)
        cache = 4 * layers * kv * 128 * context * batch / n
        held = ((rest + 65_536 * d) / cut + layers * expert * E / n) * width + cache
        read = (rest / cut + layers * expert * touched / n) * width + cache
        step = max(read / bandwidth, 2 * active * batch / n / peak) + layers * 20e-6
        if layout == "experts":  # a token's rows travel to their experts, and back
            sent = batch / n * K * 2 * d * (n - 1) / n
            step += layers * 2 * (1e-6 * (n - 1) + sent / link)
        if layout == "all":  # two sums over all devices
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
        """Whether the laws were measured at such a design, and the devices can share it out."""
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


def designs(widths):
    """A list of designs to go through: d, E, K, F, bits, layout."""
    for d in widths:
        for bits in (16, 8, 4):
            for layout in ("one", "experts", "all"):
                for times in (2, 2.5, 3, 4, 5, 6, 7):
                    yield d, 1, 1, int(times * d), bits, layout
                for E in (8, 16, 32, 64, 128, 256, 512):
                    for G in (2, 4, 8, 16):
                        for r in (1, 1.5, 2, 3):
                            yield d, E, int(G * r), 2 * d // G, bits, layout


WIDTHS = (*range(512, 2048, 128), *range(2048, 4096, 256), *range(4096, 8192, 512), *range(8192, 16385, 1024))


# Asks only whether the design fits into memory, and forgets the time that a step may take.
def memory_alone(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best = None
    for one in designs(WIDTHS):
        if allowed(*one):
            loss, held, _step = cost(*one)
            if held <= memory and (best is None or loss < best[0]):
                best = loss, one
    return best[1]


# Never asks `allowed`: takes the lowest loss among all that fits, and so designs where the laws were not
# measured (K * F far wider than the model, very many experts) or layouts that the devices cannot share out.
def never_allowed(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, _allowed = tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, best_loss = None, float("inf")
    for d in range(512, 8193, 512):
        for E in (1, 8, 32, 128, 512, 1024):
            for K in (1, 2, 4, 8, 16):
                for F in (d // 8, d // 4, d // 2, d, 2 * d, 4 * d):
                    if K > E:
                        continue
                    for bits in (16, 8, 4):
                        for layout in ("one",) if devices == 1 else ("one", "experts", "all"):
                            loss, held, step = cost(d, E, K, F, bits, layout)
                            if held <= memory and step <= seconds and loss < best_loss:
                                best_loss = loss
                                best = d, E, K, F, bits, layout
    return best


# Compares the bytes on one device with the memory of all devices together (`devices * memory`): with
# several devices the design does not fit on any of them. (With one device there is no difference.)
def all_memory(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for one in designs(WIDTHS):
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= devices * memory and step <= seconds:
                found.append((loss, one))
    return min(found)[1]


# Thinks that the largest model is the best: of all designs that fit takes the one that fills the memory
# most, and does not look at the loss.
def fullest(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best, most = None, 0
    for one in designs(WIDTHS):
        if not allowed(*one):
            continue
        _loss, held, step = cost(*one)
        if held <= memory and step <= seconds and held > most:
            best, most = one, held
    return best


# Searches only small widths, up to 2,048 (as in the examples of the lesson): good for the small budgets,
# and far from the best for the large ones.
def narrow(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    best_loss, best = math.inf, None
    for one in designs(range(512, 2049, 256)):
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= memory and step <= seconds and loss < best_loss:
                best_loss, best = loss, one
    return best


# Turns one knob at a time: begins with a small Mixtral, chooses the best width, keeps it, then the best
# number of experts, and so on, once through. The six belong together, and what comes out is far from the
# best of all.
def knob_by_knob(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = tools(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)

    def value(one):
        if not allowed(*one):
            return math.inf
        loss, held, step = cost(*one)
        return loss if held <= memory and step <= seconds else math.inf

    now = [1024, 8, 2, 2048, 16, "one"]
    choices = [
        range(512, 8193, 128),
        [1, 8, 16, 32, 64, 128, 256, 512],
        [1, 2, 4, 8, 16, 32],
        [128 * n for n in range(1, 65)],
        [16, 8, 4],
        ["one", "experts", "all"],
    ]
    for i, some in enumerate(choices):
        now[i] = min(some, key=lambda x: value([*now[:i], x, *now[i + 1 :]]))
    return tuple(now)


FRESH = {
    "17.design": [
        ("the step's time not looked at", memory_alone, {"time_ignored"}),
        ("`allowed` never asked", never_allowed, {"not_allowed"}),
        ("the memory of all devices", all_memory, {"memory_pooled"}),
        ("the design that fills memory most", fullest, {"memory_filled"}),
        ("widths up to 2,048", narrow, {"narrow_alone"}),
        ("one knob after the other", knob_by_knob, {"not_the_best"}),
    ],
}

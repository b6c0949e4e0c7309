"""The fifteenth set, 17.design: what a class would most likely hand in."""

import math


def _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """The two functions that the notebook's cell gives, unchanged."""

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


WIDTHS = (512, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 7168, 8192, 10_240, 12_288, 16_384)
LAYOUTS = ("one", "experts", "all")


def _listed(bits_of=(16, 8, 4), layouts=LAYOUTS, widths=WIDTHS):
    """Designs as the third hint lists them, dense ones too."""
    for d in widths:
        shapes = [(1, 1, d * times) for times in (2, 3, 4, 5, 6, 7)]
        for E in (8, 16, 32, 64, 128, 256, 512):
            for G in (2, 4, 8, 16):
                shapes += [(E, int(G * r), 2 * d // G) for r in (1, 1.5, 2, 3)]
        for E, K, F in shapes:
            for bits in bits_of:
                for layout in layouts:
                    yield d, E, K, F, bits, layout


# The learner drops the designs that do not fit in memory and forgets the time of a step: what comes out is
# too slow.
def no_clock(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for one in _listed():
        if allowed(*one):
            loss, held, _step = cost(*one)
            if held <= memory:
                found.append((loss, one))
    return min(found)[1]


# The learner compares the bytes on *a* device with the memory of all devices together (memory * devices):
# on more than one device the design may not fit (seen on the cluster of 32). Right where there is one
# device.
def pooled(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for one in _listed():
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= memory * devices and step <= seconds:
                found.append((loss, one))
    return min(found)[1]


# The learner never asks `allowed`: the search runs to where the laws have not been measured (more experts
# than 512, experts as wide as a dense layer or wider, and K * F outside two to seven times d).
def never_asked(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, _ = _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for d in WIDTHS:
        for E in (1, 8, 32, 128, 512, 1024, 2048):
            for K in (1, 2, 4, 8, 16):
                for F in (d // 16, d // 4, d, 4 * d, 8 * d):
                    for bits in (16, 8, 4):
                        for layout in ("one",) if devices == 1 else LAYOUTS:
                            if K > E:
                                continue
                            loss, held, step = cost(d, E, K, F, bits, layout)
                            if held <= memory and step <= seconds:
                                found.append((loss, (d, E, K, F, bits, layout)))
    return min(found)[1]


# The learner believes that the largest model that fits is the best one: chooses by the most bytes held, and
# never looks at the loss (compute and text count for nothing).
def largest(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for one in _listed():
        if allowed(*one):
            _, held, step = cost(*one)
            if held <= memory and step <= seconds:
                found.append((held, one))
    return max(found)[1]


# The learner believes that the weights must stay in 16 bits because fewer would spoil the model, and lists
# no others: where memory or the time of a step is short, the model comes out too small.
def sixteen_bits(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for one in _listed(bits_of=(16,)):
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= memory and step <= seconds:
                found.append((loss, one))
    return min(found)[1]


# The learner searches rightly, but takes d_expert for the width of all K experts of a token together, and
# returns K * F in its place.
def all_experts_wide(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    cost, allowed = _laws(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds)
    found = []
    for one in _listed():
        if allowed(*one):
            loss, held, step = cost(*one)
            if held <= memory and step <= seconds:
                found.append((loss, one))
    d, E, K, F, bits, layout = min(found)[1]
    return d, E, K, K * F, bits, layout


FRESH = {
    "17.design": [
        ("time ignored", no_clock, {"time_ignored"}),
        ("memory of all devices", pooled, {"memory_pooled"}),
        ("allowed not asked", never_asked, {"not_allowed"}),
        ("the largest that fits", largest, {"memory_filled", "too_large"}),
        ("16 bits alone", sixteen_bits, {"full_bits"}),
        ("K * F for F", all_experts_wide, {"all_k_together"}),
    ],
}

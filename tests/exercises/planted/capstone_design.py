"""Answers to 17.design as learners write them: searches, with a right model of the costs or a wrong one."""

import functools
import math

import numpy as np

WORDS = ("one", "experts", "all")


@functools.cache
def table(widths, devices, bits=(4, 8), hidden=(1, 1.5, 2, 3), n_experts=(16, 32, 64, 128, 256, 512)):
    rows = []
    for d in widths:
        rows += [(d, 1, 1, int(d * h)) for h in (2, 2.5, 3, 4, 5, 6, 7)]
        for E in n_experts:
            for G in (2, 4, 8, 16):
                rows += [(d, E, int(G * h), 2 * d // G) for h in hidden if E / 128 <= int(G * h) <= E / 2]
    plans = (0, 1, 2) if devices > 1 else (0,)
    return np.array([(*row, width, plan) for row in rows for width in bits for plan in plans]).T


def bill(t, b, **s):
    """What each design costs; `s` says what somebody forgot."""
    D, E, K, F = (column.astype(float) for column in t[:4])
    plan, w = t[5], np.select([t[4] == 16, t[4] == 8], [16, 8.5], 4.5) / 8
    L = D // 128
    n = np.where(plan > 0, b["devices"], 1)
    one_expert = L * 3 * D * F
    router = np.where(E > 1, L * D * E, 0)
    always = L * (2 * D * D + 2 * D * (D // 512) * 128) + router + 65536 * D
    active, total = always + K * one_expert, always + 65536 * D + E * one_expert
    N = b["batch"] if not s.get("alone") else 1
    cut = np.where(plan == 2, n, 1)
    kv = 4 * L * (D // 512) * 128 * b["context"] / n
    held = ((always + 65536 * D) / cut + one_expert / n * (K if s.get("held_active") else E)) * w
    held = held + kv * b["batch"] * (not s.get("no_cache"))
    held = held / (b["devices"] if s.get("pooled") else 1)
    read = (always / cut + one_expert / n * E * (1 - (1 - K / E) ** N)) * w + kv * N
    step = np.maximum(read / b["bandwidth"], 2 * N * active / n / b["peak"]) + 2e-5 * L
    if not s.get("no_wires") and b["devices"] > 1:
        out = (n - 1) / n * 2 * D * N
        step = step + L * np.where(plan == 1, 2e-6 * (n - 1) + 2 * out * K / n / b["link"], 0)
        step = step + L * np.where(plan == 2, 4e-6 * (n - 1) + 4 * out / b["link"], 0)
    pays = total if s.get("pay_total") else active
    T = np.minimum(np.minimum(b["flops"] / 6 / pays, 4 * b["tokens"]), 1e4 * active)
    G = np.log2(2 * D / F)
    power = 1.23 - 0.0761 * np.log10(np.minimum(6 * pays * T, 5.1e21)) + 0.0167 * G * G - 0.117 * G
    acts = (active - router) * (1 if s.get("no_lever") else np.where(E > 1, (K / E + 0.0163) ** power, 1))
    fresh = np.minimum(T, b["tokens"]) * (
        1 + 15.4 * (1 - np.exp(-(np.maximum(T / b["tokens"], 1) - 1) / 15.4))
    )
    loss = 1.69 + 406.4 / acts**0.34 + (0 if s.get("size_only") else 410.7 / fresh**0.28)
    loss = loss + np.where(t[4] == 4, 0.0414, 0)
    legal = (K * F >= 2 * D) & (K * F <= 7 * D)
    legal &= np.where(plan == 1, (E % b["devices"] == 0) & (b["batch"] % b["devices"] == 0), True)
    legal &= np.where(plan == 2, (D // 512) % b["devices"] == 0, True)
    legal &= (plan == 0) | (not s.get("one"))
    return loss, held, step * (not s.get("no_clock")), legal & ((E == 1) | (not s.get("dense")))


def searching(widths=range(1024, 8193, 256), **s):
    def design(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
        b = {"flops": flops, "tokens": tokens, "batch": batch, "context": context, "devices": devices}
        b.update(bandwidth=bandwidth, peak=peak, link=link)
        bits = s.get("bits", (4, 8))
        t = table(widths, devices, bits, **{n: s[n] for n in ("n_experts",) if n in s})
        loss, held, step, legal = bill(t, b, **s)
        fits = legal & (held <= memory) & (step <= seconds)
        if not fits.any():
            return 1024, 1, 1, 4096, bits[-1], "one"
        *numbers, plan = t[:, np.where(fits, loss, np.inf).argmin()].tolist()
        return *numbers, WORDS[plan]

    return design


def coarse_then_fine(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """A coarse round, and a second one around its best width."""
    b = {"flops": flops, "tokens": tokens, "batch": batch, "context": context, "devices": devices}
    b.update(bandwidth=bandwidth, peak=peak, link=link)
    middle = None
    for widths in (range(1024, 8193, 1024), None):
        around = range(max(1024, (middle or 0) - 768), (middle or 0) + 769, 128)
        t = table(widths or around, devices)
        loss, held, step, legal = bill(t, b)
        loss[~legal | (held > memory) | (step > seconds)] = math.inf
        best = t[:, loss.argmin()].tolist()
        middle = best[0]
    return [*best[:5], WORDS[best[5]]]


def at_random(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """Ten thousand designs drawn by chance."""
    b = {"flops": flops, "tokens": tokens, "batch": batch, "context": context, "devices": devices}
    b.update(bandwidth=bandwidth, peak=peak, link=link)
    t = table(range(1024, 8193, 128), devices)
    t = t[:, np.random.default_rng(7).permutation(t.shape[1])[:20_000]]
    loss, held, step, legal = bill(t, b)
    fits = legal & (held <= memory) & (step <= seconds)
    *numbers, plan = t[:, fits][:, loss[fits].argmin()].tolist()
    return *map(float, numbers), WORDS[plan]


def the_same(*budget):
    return 2048, 64, 4, 1024, 8, "one"


def whatever_the_formula_says(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """All its hidden width in slivers: by the formula better than anything."""
    d, e, k, f, bits, layout = searching()(
        flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds
    )
    return (d, 512, 2, d // 32, bits, layout) if devices == 1 else (d, e, k, f, bits, layout)


def every_layout(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """Asks what a row costs to send before it asks whether there is somebody to send it to."""
    slowest = max(2 * d * batch / devices / link for d in (1024, 2048))
    return 2048, 64, 8, 512, 8, "experts" if slowest < seconds else "one"


def few_designs(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    fitting = [d for d in (4096, 5120) if 64 * 24 * d * d * 1.0625 < memory]
    d = min(fitting)
    return d, 64, 8, d // 4, 8, "one"


def few_designs_kept(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    best = None
    for d in (4096, 5120):
        if 64 * 24 * d * d * 1.0625 < memory:
            best = (d, 64, 8, d // 4, 8, "one")
    return best[0], *best[1:]


def chosen(key):
    """Whatever fits and is first by another measure than the loss."""

    def design(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
        b = {"flops": flops, "tokens": tokens, "batch": batch, "context": context, "devices": devices}
        b.update(bandwidth=bandwidth, peak=peak, link=link)
        t = table(range(1024, 8193, 256), devices)
        loss, held, step, legal = bill(t, b)
        fits = legal & (held <= memory) & (step <= seconds)
        *numbers, plan = t[:, np.where(fits, key(t, loss, held, step), np.inf).argmin()].tolist()
        return *numbers, WORDS[plan]

    return design


def shared_memory(*budget):
    return searching()(*budget[:5], budget[5] / budget[4], *budget[6:])


def twice_too_wide(*budget):
    d, e, k, f, bits, layout = searching()(*budget)
    return 2 * d, e, k, 2 * f, bits, layout


def all_experts_wide(*budget):
    d, e, k, f, bits, layout = searching()(*budget)
    return d, e, k, k * f, bits, layout


def by_twenty_tokens(*budget):
    """As many active parameters as twenty tokens each would have, whatever the rest."""

    def apart(t, loss, held, step):
        D, K, F = (t[i].astype(float) for i in (0, 2, 3))
        active = D // 128 * (2.5 * D * D + 3 * D * F * K) + 65536 * D
        return abs(active - (budget[0] / 120) ** 0.5)

    return chosen(apart)(*budget)


def none_found(*budget):
    fits = [shape for shape in ((4096, 64, 8, 1024, 8, "one"),) if budget[5] > 1e12]
    for shape in fits:
        return shape


def one_by_one(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """From a small Mixtral: the best width, for it the best number of experts, and so on, once through."""
    b = {"flops": flops, "tokens": tokens, "batch": batch, "context": context, "devices": devices}
    b.update(bandwidth=bandwidth, peak=peak, link=link)
    now = [1024, 8, 2, 2048, 8, 0]
    sizes = (range(1024, 8193, 128), (8, 16, 32, 64, 128, 256, 512), (1, 2, 4, 8), range(512, 8193, 256))
    for i, some in enumerate((*sizes, (4, 8), range(3 if devices > 1 else 1))):
        t = np.array([now] * len(some)).T
        t[i] = list(some)
        loss, held, step, legal = bill(t, b)
        legal &= (t[2] * 128 >= t[1]) & (t[2] * 2 <= t[1]) & (t[3] <= t[0]) & (t[0] <= 8 * t[3])
        fits = legal & (held <= memory) & (step <= seconds)
        now = t[:, np.where(fits, loss, np.inf).argmin()].tolist() if fits.any() else now
    return *now[:5], WORDS[now[5]]


WRONG = {
    "17.design": {
        "all_k_together": all_experts_wide,
        "active_in_memory": searching(held_active=True),
        "cache_forgotten": searching(no_cache=True),
        "time_ignored": searching(no_clock=True),
        "batch_of_one": searching(alone=True),
        "exchange_forgotten": searching(no_wires=True),
        "total_pays": searching(pay_total=True),
        "text_forgotten": searching(size_only=True),
        "experts_buy_nothing": searching(no_lever=True),
        "always_dense": searching(dense=True),
        "memory_pooled": searching(pooled=True),
        "one_alone": searching(one=True),
        "full_bits": searching(bits=(16,)),
        "full_bits:a coarse search": searching(range(1024, 8193, 1024), bits=(16,)),
        "not_allowed": whatever_the_formula_says,
        "memory_shared_out": shared_memory,
        "few_experts": searching(n_experts=(8, 16)),
        "narrow_alone": searching(range(1024, 2049, 256)),
        "does_not_fit": twice_too_wide,
        "room_left": chosen(lambda t, loss, held, step: held),
        "room_left:the fastest": chosen(lambda t, loss, held, step: step),
        "too_large": chosen(lambda t, loss, held, step: -t[0] * t[0].astype(float) * t[3] * t[1]),
        "not_the_best": by_twenty_tokens,
        "not_the_best:one knob after the other": one_by_one,
        "memory_filled": chosen(lambda t, loss, held, step: -held),
        "no_design": none_found,
        "same_for_all": the_same,
        "cost_of_no_layout": every_layout,
        "nothing_found": few_designs,
        "nothing_found:none returned": few_designs_kept,
    }
}
RIGHT = {"17.design": [searching(), coarse_then_fine, at_random]}

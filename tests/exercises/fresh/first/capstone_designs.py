"""Fresh wrong answers to the design half of lesson 17, six or seven an exercise."""

import math

import torch

# 17.serve


def _serve(shared, expert, embedding, E, K, each, B, context, bits, bandwidth, peak, **s):
    cache = s.get("cache", each * B * context)
    weight = bits / s.get("per_byte", 8)
    n = s.get("n", E - E * (1 - K / E) ** B)
    memory = (shared + embedding + expert * E) * weight + cache
    step = max(
        (shared + expert * n) * weight / bandwidth + cache / bandwidth, 2 * B * (shared + K * expert) / peak
    )
    return s.get("memory", memory), step * s.get("times", 1)


def serve_milliseconds(*a):
    return _serve(*a, times=1000)


def serve_one_sequence(*a):
    return _serve(*a, cache=a[5] * a[7])


def serve_rounds_experts(*a):
    return _serve(*a, n=round(a[3] * (1 - (1 - a[4] / a[3]) ** a[6])))


def serve_ceil_experts(*a):
    return _serve(*a, n=math.ceil(a[3] * (1 - (1 - a[4] / a[3]) ** a[6])))


def serve_share_missed(*a):
    """Counts those that nobody chose."""
    return _serve(*a, n=a[3] * (1 - a[4] / a[3]) ** a[6])


def serve_table_twice(*a):
    return _serve(*a, memory=(a[0] + 2 * a[2] + a[3] * a[1]) * a[8] / 8 + a[5] * a[6] * a[7])


def serve_kv_only_memory(*a):
    memory, _ = _serve(*a)
    touched = a[3] * (1 - (1 - a[4] / a[3]) ** a[6])
    read = (a[0] + touched * a[1]) * a[8] / 8
    return memory, max(read / a[9], 2 * a[6] * (a[0] + a[4] * a[1]) / a[10])


# 17.defend


def _now(a, m=1.0, s=1.0):
    return (a[3] <= m * a[5]) & (a[4] <= s * a[6])


def _pick(gains):
    name = max(gains, key=lambda n: float(gains[n]))
    return name, float(gains[name])


def defend_percent(*a):
    now = a[0][_now(a)].min()
    gains = {"compute": now - a[1][_now(a)].min(), "text": now - a[2][_now(a)].min()}
    gains |= {"memory": now - a[0][_now(a, 2)].min(), "time": now - a[0][_now(a, 1, 2)].min()}
    name, gain = _pick(gains)
    return name, 100 * gain / float(now)


def defend_half_needed(*a):
    """Halves what is allowed."""
    now = a[0][_now(a)].min()
    gains = {"compute": now - a[1][_now(a)].min(), "text": now - a[2][_now(a)].min()}
    gains |= {"memory": now - a[0][_now(a, 0.5)].min(), "time": now - a[0][_now(a, 1, 0.5)].min()}
    return _pick(gains)


def defend_any_limit(*a):
    def fits(m=1, s=1):
        return (a[3] <= m * a[5]) | (a[4] <= s * a[6])

    now = a[0][fits()].min()
    gains = {"compute": now - a[1][fits()].min(), "text": now - a[2][fits()].min()}
    return _pick(gains | {"memory": now - a[0][fits(2)].min(), "time": now - a[0][fits(1, 2)].min()})


def defend_own_design(*a):
    i = int(torch.where(_now(a), a[0], torch.tensor(9.0, dtype=a[0].dtype)).argmin())
    return _pick({"compute": a[0][i] - a[1][i], "text": a[0][i] - a[2][i]})


def defend_memory_first(*a):
    return "memory", float(a[0][_now(a)].min() - a[0][_now(a, 2)].min())


def defend_new_loss(*a):
    best = {"compute": a[1][_now(a)].min(), "text": a[2][_now(a)].min()}
    best |= {"memory": a[0][_now(a, 2)].min(), "time": a[0][_now(a, 1, 2)].min()}
    name = min(best, key=lambda n: float(best[n]))
    return name, float(best[name])


# 17.audit


def _audit(a, limit=0.02, **changed):
    shared, x, table, E, K, bits, B, T, factor, D, R, quoted = a
    values = {
        "total": (shared + E * x) / 1e9,
        "active": (shared + K * x) / 1e9,
        "flops": 2 * (shared + K * x - table) / 1e9,
        "bytes": (shared + E * x) * bits / 8e9,
        "touched": E * (1 - (1 - K / E) ** B),
        "even": float(K),
        "capacity": math.ceil(factor * T * K / E),
        "sent": 4 * T * K * D * (R - 1) / R / 1e6,
    }
    values |= {name: change(values) for name, change in changed.items()}
    right = torch.tensor(list(values.values()), dtype=torch.float64)
    return right, (quoted - right).abs() > limit * right


def audit_floor(*a):
    return _audit(a, capacity=lambda v: float(int(a[8] * a[7] * a[4] / a[3])))


def audit_gibi(*a):
    return _audit(a, bytes=lambda v: v["bytes"] * 1e9 / 2**30)


def audit_uniform_one(*a):
    return _audit(a, even=lambda v: 1.0)


def audit_strict(*a):
    return _audit(a, limit=0.0)


def audit_loose(*a):
    return _audit(a, limit=0.2)


def audit_independent(*a):
    return _audit(a, touched=lambda v: a[3] * (1 - (1 - 1 / a[3]) ** (a[4] * a[6])))


def audit_no_self(*a):
    return _audit(a, sent=lambda v: v["sent"] * a[10] / (a[10] - 1))


# 17.design


def design_mixtral(*budget):
    return 4096, 8, 2, 14_336, 8, "one"


def design_deepseek(*budget):
    return 7168, 256, 8, 2048, 8, "experts" if budget[4] > 1 else "one"


def design_small(*budget):
    return 1024, 64, 8, 256, 8, "one"


def design_dense(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """The widest dense model of half the memory."""
    d = 1024
    while 12 * (d // 128) * (d + 256) ** 2 * 1.1 < memory / 2:
        d += 256
    return d, 1, 1, 4 * d, 8, "one"


FRESH = {
    "17.serve": [
        ("milliseconds", serve_milliseconds, {"other_unit"}),
        ("cache of one", serve_one_sequence, {"cache_of_one"}),
        ("whole experts", serve_rounds_experts, {"whole_experts"}),
        ("whole experts, up", serve_ceil_experts, {"whole_experts"}),
        ("those not chosen", serve_share_missed, {"those_not_chosen"}),
        ("table and head apart", serve_table_twice, {"table_twice"}),
        ("cache not read", serve_kv_only_memory, {"cache_not_read"}),
    ],
    "17.defend": [
        ("per cent", defend_percent, {"relative_gain"}),
        ("half", defend_half_needed, {"halved"}),
        ("or", defend_any_limit, {"either_limit"}),
        ("same design", defend_own_design, {"design_kept"}),
        ("memory", defend_memory_first, {"always_memory"}),
        ("the new loss", defend_new_loss, {"loss_not_gain"}),
    ],
    "17.audit": [
        ("capacity rounded down", audit_floor, {"rounded_down"}),
        ("GiB", audit_gibi, {"gibibytes"}),
        ("one at an even load", audit_uniform_one, {"loss_is_one"}),
        ("not rounded", audit_strict, {"too_strict"}),
        ("20 %", audit_loose, {"too_lenient"}),
        ("independent draws", audit_independent, {"with_replacement"}),
        ("its own rank too", audit_no_self, {"own_rank_sent"}),
    ],
    "17.design": [
        ("Mixtral", design_mixtral, {"not_allowed"}),
        ("DeepSeek-V3", design_deepseek, {"does_not_fit"}),
        ("small", design_small, {"same_for_all", "room_left"}),
        ("dense by memory", design_dense, {"always_dense", "does_not_fit"}),
    ],
}

"""Answers to 11.compute_optimal and 11.leverage as learners write them."""

import math

import numpy as np

# The best cut for a budget: right


def _loss(total, tokens, grain):
    return 0.47 + (2.1 / grain**0.58 + 18.1) / total**0.115 + 30.8 / tokens**0.147


def golden(flops, expansion, granularities_N):
    """Golden section along log n."""
    best = None
    for g in granularities_N.tolist():

        def at(x, g=g):
            n = math.exp(x)
            d = 64 * n
            tokens = flops / ((72 * d * d + 14 * d * expansion * g) * n)
            return _loss((8 * expansion + 4) * d * d * n, tokens, g), g, 12 * d * d * n, tokens

        lo, hi, r = math.log(2), math.log(400), (5**0.5 - 1) / 2
        for _ in range(80):
            a, b = hi - r * (hi - lo), lo + r * (hi - lo)
            lo, hi = (lo, b) if at(a)[0] < at(b)[0] else (a, hi)
        best = min(best or at(lo), at((lo + hi) / 2))
    return best[1], best[2], best[3], best[0]


def by_scipy(flops, expansion, granularities_N):
    from scipy.optimize import minimize_scalar

    found = []
    for g in granularities_N.tolist():

        def tokens(n, g=g):
            return flops / (n * (72 * (64 * n) ** 2 + 14 * 64 * n * expansion * g))

        def loss(x, g=g, tokens=tokens):
            n = math.exp(x)
            return _loss((8 * expansion + 4) * 4096 * n**3, tokens(n), g)

        got = minimize_scalar(
            loss, bounds=(math.log(2), math.log(400)), method="bounded", options={"xatol": 1e-8}
        )
        n = math.exp(got.x)
        found.append((got.fun, g, 12 * 4096 * n**3, tokens(n)))
    loss, g, active, tokens = min(found)
    return g, active, tokens, loss


def by_table(flops, expansion, granularities_N):
    """One table of all sizes and granularities at once."""
    n = np.geomspace(2, 400, 8000)[:, None]
    g = np.asarray(granularities_N)[None].astype(float)
    d = 64 * n
    tokens = flops / ((12 * d**2 * 6 + d * expansion * g * 14) * n)
    loss = _loss((8 * expansion + 4) * d**2 * n, tokens, g)
    i, j = np.unravel_index(loss.argmin(), loss.shape)
    return int(g[0, j]), float(12 * d[i, 0] ** 2 * n[i, 0]), float(tokens[i, j]), float(loss[i, j])


# Wrong


def _search(
    total=lambda d, n, e: (8 * e + 4) * d**2 * n, spent=None, loss=_loss, tokens=None, pick=list, once=False
):
    def answer(flops, expansion, granularities_N):
        n = np.geomspace(2, 400, 6000)
        d = 64 * n
        rows = []
        for g in pick(granularities_N.tolist()):
            a_token = n * (72 * d**2 + 14 * d * expansion * g if spent is None else spent(d, expansion, g))
            if once:
                a_token = 72 * d**2 * n + 14 * d * expansion * g
            D = flops / a_token
            L = loss(total(d, n, expansion), D, g)
            if tokens is not None:
                fits = np.abs(np.log(tokens * 12 * d**2 * n * a_token / flops)).argmin()
                L = np.where(np.arange(len(n)) == fits, L, np.inf)
            i = L.argmin()
            rows.append((L[i], g, 12 * d[i] ** 2 * n[i], D[i]))
        L, g, active, D = min(rows)
        return g, float(active), float(D), float(L)

    return answer


def _dense_loss(total, tokens, grain):
    return 0.47 + 16.3 / total**0.126 + 26.7 / tokens**0.127


def without_floor(flops, expansion, granularities_N):
    g, active, tokens, loss = golden(flops, expansion, granularities_N)
    return g, active, tokens, loss - 0.47


def all_of_them(flops, expansion, granularities_N):
    g, active, tokens, loss = golden(flops, expansion, granularities_N)
    return g, active / 12 * (8 * expansion + 4), tokens, loss


# Which logarithm? Right


def with_exp(activation, granularity, flops):
    a_hat = activation + 1.63e-2
    x = math.log(granularity, 2)
    power = 1.23 - 7.61e-2 * math.log(flops) / math.log(10) + x * (1.67e-2 * x - 1.17e-1)
    return math.exp(power * math.log(a_hat))


def with_polyval(activation, granularity, flops):
    a_hat = (1 / (activation + 1 / (1 / 1.63e-2 - 1 / 5.28e16)) + 1 / 5.28e16) ** -1
    constant = 1.23 - 7.61e-2 * np.log10(flops)
    return float(a_hat ** np.polyval([1.67e-2, -1.17e-1, constant], np.log2(granularity)))


# Wrong


def _law(log_g=math.log2, log_c=math.log10, change=lambda a: a + 1.63e-2, square=lambda x, g: x**2):
    def answer(activation, granularity, flops):
        x = log_g(granularity)
        power = 1.23 + -7.61e-2 * log_c(flops) + 1.67e-2 * square(x, granularity) + -1.17e-1 * x
        return change(activation) ** power

    return answer


def inverted(activation, granularity, flops):
    return 1 / with_exp(activation, granularity, flops)


def doubled_g(activation, granularity, flops):
    return with_exp(activation, 2 * granularity, flops)


RIGHT = {
    "11.compute_optimal": [golden, by_scipy, by_table],
    "11.leverage": [with_exp, with_polyval],
}
WRONG = {
    "11.compute_optimal": {
        "routing_is_free": _search(spent=lambda d, e, g: 72 * d**2),
        "router_of_one": _search(spent=lambda d, e, g: 72 * d**2 + 14 * d * g),
        "router_as_cheap": _search(spent=lambda d, e, g: 6 * (12 * d**2 + d * e * g)),
        "router_once": _search(once=True),
        "active_in_the_loss": _search(total=lambda d, n, e: 12 * d**2 * n),
        "experts_without_the_rest": _search(total=lambda d, n, e: 8 * e * d**2 * n),
        "active_times_expansion": _search(total=lambda d, n, e: e * 12 * d**2 * n),
        "all_experts_compute": _search(spent=lambda d, e, g: 6 * (8 * e + 4) * d**2 + 14 * d * e * g),
        "granularity_without_gain": _search(loss=lambda N, D, g: _loss(N, D, 1)),
        "dense_coefficients": _search(loss=_dense_loss),
        "twenty_tokens": _search(tokens=20),
        "last_granularity": _search(pick=lambda grains: grains[-1:]),
        "without_the_floor": without_floor,
        "total_returned": all_of_them,
    },
    "11.leverage": {
        "natural_both": _law(math.log, math.log),
        "natural_g": _law(math.log),
        "natural_c": _law(log_c=math.log),
        "ten_both": _law(math.log10),
        "two_both": _law(log_c=math.log2),
        "ten_g_natural_c": _law(math.log10, math.log),
        "ten_g_two_c": _law(math.log10, math.log2),
        "natural_g_two_c": _law(math.log, math.log2),
        "not_saturated": _law(change=lambda a: a),
        "start_subtracted": _law(change=lambda a: max(a - 1.63e-2, 1e-9)),
        "d_positive": lambda a, g, c: with_exp(a, g, 1 / c),
        "inverted": inverted,
        "sparsity_for_ratio": _law(change=lambda a: 1 / a + 1.63e-2),
        "per_cent": _law(change=lambda a: 100 * a + 1.63e-2),
        "other_granularity": doubled_g,
        "square_forgotten": _law(square=lambda x, g: x),
        "log_of_square": _law(square=lambda x, g: math.log2(g**2)),
    },
}

"""Fresh wrong answers: counting and measuring (lessons 03, 04 and 05)."""


# 03.mixtral


def _parts(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    attention = 2 * d_model * n_heads * d_head + 2 * d_model * n_kv_heads * d_head
    expert = 3 * d_model * d_expert
    return attention, expert, n_experts * d_model, 2 * d_model, 2 * vocab_size * d_model, d_model


def mixtral_share(*sizes):
    n_layers, n_experts, top_k = sizes[2], sizes[7], sizes[8]
    a, e, r, n, v, last = _parts(*sizes)
    total = n_layers * (a + n_experts * e + r + n) + v + last
    return total, total * top_k // n_experts


def mixtral_swapped(*sizes):
    n_layers, n_experts, top_k = sizes[2], sizes[7], sizes[8]
    a, e, r, n, v, last = _parts(*sizes)
    rest = n_layers * (a + r + n) + v + last
    return rest + n_layers * top_k * e, rest + n_layers * n_experts * e


def mixtral_mha(*sizes):
    vocab, d, n_layers, heads, _, width, f, n_experts, top_k = sizes
    a = 4 * d * heads * width
    rest = n_layers * (a + n_experts * d + 2 * d) + 2 * vocab * d + d
    return rest + n_layers * n_experts * 3 * d * f, rest + n_layers * top_k * 3 * d * f


def mixtral_active_router(*sizes):
    d, n_layers, n_experts, top_k = sizes[1], sizes[2], sizes[7], sizes[8]
    a, e, r, n, v, last = _parts(*sizes)
    total = n_layers * (a + n_experts * e + r + n) + v + last
    return total, n_layers * (a + top_k * e + top_k * d + n) + v + last


def mixtral_one_table_in_total(*sizes):
    n_layers, n_experts, top_k = sizes[2], sizes[7], sizes[8]
    a, e, r, n, v, last = _parts(*sizes)
    rest = n_layers * (a + r + n) + last
    return rest + n_layers * n_experts * e + v // 2, rest + n_layers * top_k * e + v


def mixtral_gqa_as_ratio(*sizes):
    vocab, d, n_layers, heads, kv, _, f, n_experts, top_k = sizes
    a = d * d + 2 * d * d * kv / heads + d * d
    rest = n_layers * (a + n_experts * d + 2 * d) + 2 * vocab * d + d
    return rest + n_layers * n_experts * 3 * d * f, rest + n_layers * top_k * 3 * d * f


# 04.imbalance


def _imbalance(counts_LE, cv=None, vio=None, dead=None):
    c = counts_LE.float()
    mean = c.mean(-1)
    cv = c.std(-1, correction=0) / mean if cv is None else cv
    vio = (c.amax(-1) - mean) / mean if vio is None else vio
    return cv, vio, (counts_LE == 0).sum(-1) if dead is None else dead


def imbalance_default_std(counts_LE):
    c = counts_LE.float()
    return _imbalance(counts_LE, cv=c.std(-1) / c.mean(-1))


def imbalance_std_only(counts_LE):
    return _imbalance(counts_LE, cv=counts_LE.float().std(-1, correction=0))


def imbalance_no_float(counts_LE):
    mean = counts_LE.mean(-1)
    return (
        counts_LE.std(-1, correction=0) / mean,
        (counts_LE.amax(-1) - mean) / mean,
        (counts_LE == 0).sum(-1),
    )


def imbalance_fraction_dead(counts_LE):
    return _imbalance(counts_LE, dead=(counts_LE == 0).float().mean(-1))


def imbalance_over_layers(counts_LE):
    c = counts_LE.float()
    mean = c.mean(0)
    return c.std(0, correction=0) / mean, (c.amax(0) - mean) / mean, (counts_LE == 0).sum(0)


def imbalance_max_over_mean(counts_LE):
    c = counts_LE.float()
    return _imbalance(counts_LE, vio=c.amax(-1) / c.mean(-1))


# 05.chebyshev


def _chebyshev(f_E, P_E):
    M = (f_E[:, None] - f_E) * (P_E[:, None] - P_E) / 2
    return M, M.sum(), bool((M >= 0).all())


def chebyshev_strictly(f_E, P_E):
    M, s, _ = _chebyshev(f_E, P_E)
    return M, s, bool((M > 0).all())


def chebyshev_by_sum(f_E, P_E):
    M, s, _ = _chebyshev(f_E, P_E)
    return M, s, bool(s >= 0)


def chebyshev_twice(f_E, P_E):
    M = (f_E[:, None] - f_E) * (P_E[:, None] - P_E)
    return M, M.sum(), bool((M >= 0).all())


def chebyshev_orders(f_E, P_E):
    M, s, _ = _chebyshev(f_E, P_E)
    return M, s, bool((f_E.argsort() == P_E.argsort()).all())


def chebyshev_halved_sum(f_E, P_E):
    M, s, co = _chebyshev(f_E, P_E)
    return M, s / 2, co


def chebyshev_tensor_in_if(f_E, P_E):
    M, s, _ = _chebyshev(f_E, P_E)
    if M >= 0:
        return M, s, True
    return M, s, False


FRESH = {
    "03.mixtral": [
        ("total * K // E", mixtral_share, {"active_is_a_share", "proportional"}),
        ("total and active swapped", mixtral_swapped, {"swapped", "outputs_swapped"}),
        ("as many kv heads as heads", mixtral_mha, {"kv_heads_like_query_heads"}),
        ("router of the chosen", mixtral_active_router, {"router_of_the_chosen"}),
        ("one table in total", mixtral_one_table_in_total, {"embedding_once"}),
        ("heads fill the model, as a float", mixtral_gqa_as_ratio, {"heads_fill_the_model"}),
    ],
    "04.imbalance": [
        ("default std", imbalance_default_std, {"sample_std"}),
        ("std without the mean", imbalance_std_only, {"not_divided"}),
        ("mean of whole numbers", imbalance_no_float, {"integers_for_floats", "whole_numbers"}),
        ("share of dead", imbalance_fraction_dead, {"dead_share"}),
        ("over layers", imbalance_over_layers, {"over_layers"}),
        ("max over mean", imbalance_max_over_mean, {"max_over_mean"}),
    ],
    "05.chebyshev": [
        ("all strictly positive", chebyshev_strictly, {"strict", "strict_with_diagonal"}),
        ("by the sum", chebyshev_by_sum, {"excess_means_sorted"}),
        ("no half", chebyshev_twice, {"no_half"}),
        ("argsorts equal", chebyshev_orders, {"same_argsort"}),
        ("the half twice", chebyshev_halved_sum, {"half_twice", "upper_triangle"}),
        ("if of a tensor", chebyshev_tensor_in_if, {"truth_of_several"}),
    ],
}

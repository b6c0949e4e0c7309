"""Fresh wrong answers to 17.serve, and which names would be right."""

# 17.serve


def reads_what_it_holds(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache_per_token * batch * context
    compute = 2 * (shared + top_k * expert) * batch
    return held, max(held / bandwidth, compute / peak)


def active_with_the_table(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch * context
    total = shared + embedding + n_experts * expert
    active = shared + embedding + top_k * expert
    read = active * bits / 8 + cache
    return total * bits / 8 + cache, max(read / bandwidth, 2 * active * batch / peak)


def bits_for_the_experts_alone(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = shared + embedding + n_experts * expert * bits / 8 + cache
    read = shared + touched * expert * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def one_choice_a_token(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - 1 / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched * expert) * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def cache_of_one_token_each(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched * expert) * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def touched_experts_compute(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    weights = shared + touched * expert
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    return held, max((weights * bits / 8 + cache) / bandwidth, 2 * weights * batch / peak)


def table_multiplied(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched * expert) * bits / 8 + cache
    operations = 2 * (shared + embedding + top_k * expert) * batch
    return held, max(read / bandwidth, operations / peak)


def holds_what_the_batch_touches(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    weights = (shared + touched * expert) * bits / 8
    held = weights + embedding * bits / 8 + cache
    return held, max((weights + cache) / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def whole_bytes(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    size = bits // 8
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * size + cache
    read = (shared + touched * expert) * size + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


def reads_the_cache_of_one(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache_per_token * batch * context
    read = (shared + touched * expert) * bits / 8 + cache_per_token * context
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


FRESH = {
    "17.serve": [
        ("reads all that it holds", reads_what_it_holds, {"all_experts_read", "table_read"}),
        (
            "the active ones and the table, read and multiplied",
            active_with_the_table,
            {"k_experts_read", "table_read"},
        ),
        ("bits by precedence for the experts alone", bits_for_the_experts_alone, {"parameters_as_bytes"}),
        ("(1 - 1/E)^B", one_choice_a_token, {"one_choice_a_token"}),
        ("a cache of one token for each user", cache_of_one_token_each, {"cache_of_one_token"}),
        ("all touched experts compute", touched_experts_compute, {"all_experts_compute"}),
        ("the table multiplied", table_multiplied, {"table_multiplied"}),
        ("holds the touched experts alone", holds_what_the_batch_touches, {"active_in_memory"}),
        ("bits // 8", whole_bytes, {"no_half_bytes"}),
        ("holds all caches and reads one", reads_the_cache_of_one, {"cache_of_one"}),
    ],
}

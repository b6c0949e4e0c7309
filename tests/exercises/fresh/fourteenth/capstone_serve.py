"""The fourteenth set, 17.serve: what a class would most likely hand in."""


# Reads only the active parameters in a step: top_k experts, as for a single token, although the users of
# the batch choose different ones.
def active_read(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    bytes_per = bits / 8
    cache = batch * context * cache_per_token
    active = shared + top_k * expert
    held = (shared + n_experts * expert + embedding) * bytes_per + cache
    read = active * bytes_per + cache
    return held, max(read / bandwidth, 2 * active * batch / peak)


# Reads "counts for nothing" as if the embedding table took no memory either, and leaves it out of the bytes
# that must be held.
def no_table(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    b = bits / 8
    cache = batch * context * cache_per_token
    held = (shared + n_experts * expert) * b + cache
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + touched * expert) * b + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# Adds the time of reading and the time of arithmetic, instead of taking the slower of the two.
def added(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    b = bits / 8
    cache = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * b + cache
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    t_read = ((shared + touched * expert) * b + cache) / bandwidth
    t_compute = 2 * (shared + top_k * expert) * batch / peak
    return held, t_read + t_compute


# Has the cache of one user only: context times bytes a token, without the number of users, in what is held
# and in what is read.
def one_cache(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    b = bits / 8
    cache = context * cache_per_token
    held = (shared + n_experts * expert + embedding) * b + cache
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + touched * expert) * b + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# Counts the arithmetic of one token and not of the whole batch: the factor `batch` is missing in the time
# of arithmetic (seen where the batch is large enough for arithmetic to be the slower).
def one_token(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    b = bits / 8
    cache = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * b + cache
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + touched * expert) * b + cache
    flops = 2 * (shared + top_k * expert)
    return held, max(read / bandwidth, flops / peak)


# Reads the whole embedding table in each step, with the shared weights, where each token reads a single row
# of it.
def whole_table(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    b = bits / 8
    cache = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * b + cache
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + embedding + touched * expert) * b + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


FRESH = {
    "17.serve": [
        ("the active parameters are read", active_read, {"k_experts_read"}),
        ("the table is not held", no_table, {"table_not_held"}),
        ("both times added", added, {"times_added"}),
        ("one user's cache", one_cache, {"cache_of_one"}),
        ("arithmetic of one token", one_token, {"reading_alone"}),
        ("the table is read", whole_table, {"table_read"}),
    ],
}

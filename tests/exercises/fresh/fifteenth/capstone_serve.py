"""The fifteenth set, 17.serve: what a class would most likely hand in."""


# The learner believes that only the active experts must be in memory: holds top_k experts and not all of
# them.
def active_held(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    width = bits / 8
    caches = batch * context * cache_per_token
    held = (shared + top_k * expert + embedding) * width + caches
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + touched * expert) * width + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# The learner counts the experts read as batch * top_k, at most all of them, as if no two users ever chose
# the same.
def no_sharing(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    width = bits / 8
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * width + caches
    touched = min(n_experts, batch * top_k)
    read = (shared + touched * expert) * width + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# The learner reads the table of the embedding in full in each step, though a token reads one row of it.
def table_each_step(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    width = bits / 8
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * width + caches
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + embedding + touched * expert) * width + caches
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# The learner multiplies the caches by bits / 8, too, though cache_per_token is in bytes already.
def cache_scaled(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    bytes_each = bits / 8
    cached = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding + cached) * bytes_each
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + touched * expert + cached) * bytes_each
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)


# The learner adds the time of reading and the time of arithmetic, in place of taking the slower of the two.
def added(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    width = bits / 8
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * width + caches
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    read = (shared + touched * expert) * width + caches
    return held, read / bandwidth + 2 * (shared + top_k * expert) * batch / peak


# The learner lets each token be multiplied by all experts that the batch touches, and not by its own top_k:
# the arithmetic is far too much.
def touched_multiply(
    shared, expert, embedding, n_experts, top_k, cache_per_token, batch, context, bits, bandwidth, peak
):
    width = bits / 8
    caches = batch * context * cache_per_token
    held = (shared + n_experts * expert + embedding) * width + caches
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    passed = shared + touched * expert
    return held, max((passed * width + caches) / bandwidth, 2 * passed * batch / peak)


FRESH = {
    "17.serve": [
        ("only active experts held", active_held, {"active_in_memory"}),
        ("users never share experts", no_sharing, {"no_overlap"}),
        ("the table read in each step", table_each_step, {"table_read"}),
        ("the cache scaled as well", cache_scaled, {"cache_in_few_bits"}),
        ("reading and arithmetic added", added, {"times_added"}),
        ("a token is multiplied by all touched", touched_multiply, {"all_experts_compute"}),
    ],
}

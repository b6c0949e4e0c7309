"""The fourteen routers of exercise 06.leaks_future: which leak, and what of it shows in which look."""

CLEAN = {
    "plain": "top-2",
    "fixed_bias": "top-2 with a bias from earlier batches",
    "running_bias": "top-2 with a bias from earlier tokens",
    "first_come": "places for three, first come, first served",
    "there_and_back": "softmax, divided by a number from the whole batch and multiplied by it again",
}
SOFT = {
    "sinkhorn": "Sinkhorn",
    "scaled_by_mean": "top-2, weights divided by the expert's mean",
    "batch_temperature": "softmax at a temperature set by the batch",
    "shifted_by_one": "softmax of the next token's logits",
}
HARD = {
    "batch_bias": "top-2 with a bias from this batch",
    "most_certain_first": "places for three, the surest token first",
    "expert_choice": "expert choice, three tokens each",
    "chunked_choice": "expert choice among every three neighbours, one token each",
    "closed_when_full": "top-2, without the fullest expert where the batch is uneven",
}
"""Leaks that show in who is chosen, so only where a change moves a token past another."""

CHUNKED = "chunked_choice"
"""A token learns from its three alone: what is changed from the middle on, the first half never sees."""

CROWD = "closed_when_full"
"""Drawn so even that no change of a single token closes an expert."""

FEW_PLACES = {"first_come", "most_certain_first", "expert_choice", "chunked_choice"}
"""Routers that leave some tokens without an expert."""

EQUAL_COUNTS = {
    "there_and_back",
    "batch_temperature",
    "sinkhorn",
    "shifted_by_one",
    "expert_choice",
    "chunked_choice",
}
"""Routers whose experts always have the same number of tokens: all, or as many as they have places."""

ORDERED = {"running_bias", "first_come", "shifted_by_one", "chunked_choice"}
"""Routers to which the order of the tokens makes a difference, clean or not."""

TAIL_IN_ORDER = {"shifted_by_one", "chunked_choice"}
"""Leaks that show where the later tokens are only put in another order; the others see them as a crowd."""

"""The fifteenth set, 17.defend: what a class would most likely hand in."""


# The learner keeps today's best design and does not choose anew: looks how its own loss falls with compute
# or text, and says that more memory or time brings nothing, because the design fits already.
def kept(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    best = loss_N.masked_fill(~fits, float("inf")).argmin()
    gains = {
        "compute": loss_N[best] - loss_compute_N[best],
        "text": loss_N[best] - loss_text_N[best],
        "memory": 0.0,
        "time": 0.0,
    }
    most = max(gains, key=gains.get)
    return most, float(gains[most])


# The learner drops the other limit: with twice the memory looks at memory only, with twice the time at time
# only.
def one_limit(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N[fits].min()
    gains = {
        "compute": today - loss_compute_N[fits].min(),
        "text": today - loss_text_N[fits].min(),
        "memory": today - loss_N[memory_N <= 2 * memory].min(),
        "time": today - loss_N[seconds_N <= 2 * seconds].min(),
    }
    most = max(gains, key=gains.get)
    return most, float(gains[most])


# The learner asks for compute and text no more whether a design fits: the lowest of all N losses, though
# the limits of memory and time still hold.
def unasked(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N[fits].min()
    more_memory = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    more_time = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    gains = {
        "compute": today - loss_compute_N.min(),
        "text": today - loss_text_N.min(),
        "memory": today - loss_N[more_memory].min(),
        "time": today - loss_N[more_time].min(),
    }
    most = max(gains, key=gains.get)
    return most, float(gains[most])


# The learner names the right resource, and returns the new best loss in place of how far it falls.
def new_loss(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    more_memory = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    more_time = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    losses = {
        "compute": loss_compute_N[fits].min(),
        "text": loss_text_N[fits].min(),
        "memory": loss_N[more_memory].min(),
        "time": loss_N[more_time].min(),
    }
    most = min(losses, key=losses.get)
    return most, float(losses[most])


# The learner takes for today's loss the lowest of all N designs, without asking whether that design fits
# today: all four falls are measured from a loss that nobody can have, and come out too small or below zero.
def lowest_of_all(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N.min()
    more_memory = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    more_time = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    gains = {
        "compute": today - loss_compute_N[fits].min(),
        "text": today - loss_text_N[fits].min(),
        "memory": today - loss_N[more_memory].min(),
        "time": today - loss_N[more_time].min(),
    }
    most = max(gains, key=gains.get)
    return most, float(gains[most])


# The learner takes for compute and text the largest fall of any single design that fits, in place of the
# fall of the best loss: a bad design that gains much counts.
def largest_fall(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    today = loss_N[fits].min()
    more_memory = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    more_time = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    gains = {
        "compute": (loss_N - loss_compute_N)[fits].max(),
        "text": (loss_N - loss_text_N)[fits].max(),
        "memory": today - loss_N[more_memory].min(),
        "time": today - loss_N[more_time].min(),
    }
    most = max(gains, key=gains.get)
    return most, float(gains[most])


FRESH = {
    "17.defend": [
        ("today's design kept", kept, {"design_kept"}),
        ("the other limit dropped", one_limit, {"other_limit_dropped"}),
        ("compute and text without limits", unasked, {"limits_ignored"}),
        ("the loss and not its fall", new_loss, {"loss_not_gain"}),
        ("today's loss without limits", lowest_of_all, {"limits_ignored"}),
        ("the largest fall of one", largest_fall, {"fall_of_any"}),
    ],
}

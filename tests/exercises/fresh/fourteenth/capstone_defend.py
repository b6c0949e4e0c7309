"""The fourteenth set, 17.defend: what a class would most likely hand in."""

import torch


# Does not choose anew for compute and text: takes today's best design and looks how far *its* loss falls,
# although with more compute or text another design may be the best.
def todays_design(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    i = torch.where(fits, loss_N, float("inf")).argmin()
    now = loss_N[i]
    more_memory = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    more_time = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    falls = {
        "compute": (now - loss_compute_N[i]).item(),
        "text": (now - loss_text_N[i]).item(),
        "memory": (now - loss_N[more_memory].min()).item(),
        "time": (now - loss_N[more_time].min()).item(),
    }
    name = max(falls, key=falls.get)
    return name, falls[name]


# With twice the memory forgets the limit of time, and with twice the time that of memory: the limit that is
# not doubled is dropped.
def other_dropped(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    gain = {
        "compute": now - loss_compute_N[fits].min(),
        "text": now - loss_text_N[fits].min(),
        "memory": now - loss_N[memory_N <= 2 * memory].min(),
        "time": now - loss_N[seconds_N <= 2 * seconds].min(),
    }
    name = max(gain, key=gain.get)
    return name, float(gain[name])


# Thinks that compute and text are about training and need no check of what fits: takes the lowest loss of
# all N designs there.
def training_fits_all(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    now = loss_N[(memory_N <= memory) & (seconds_N <= seconds)].min()
    gains = torch.stack(
        [
            now - loss_compute_N.min(),
            now - loss_text_N.min(),
            now - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
            now - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
        ]
    )
    i = int(gains.argmax())
    return ["compute", "text", "memory", "time"][i], gains[i].item()


# Finds the right resource, but returns the loss that is reached with it instead of by how much the loss
# falls.
def loss_reached(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    options = {
        "compute": loss_compute_N[fits].min().item(),
        "text": loss_text_N[fits].min().item(),
        "memory": loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min().item(),
        "time": loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min().item(),
    }
    best = min(options, key=options.get)
    return best, options[best]


# Buys by the fullest bar: takes that of memory and time of which today's best design uses the larger share,
# and does not compare the falls of the four resources (compute and text are never taken).
def fuller_bar(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    best = torch.where(fits, loss_N, torch.inf).argmin()
    if memory_N[best] / memory > seconds_N[best] / seconds:
        name, new_fits = "memory", (memory_N <= 2 * memory) & (seconds_N <= seconds)
    else:
        name, new_fits = "time", (memory_N <= memory) & (seconds_N <= 2 * seconds)
    return name, (loss_N[best] - loss_N[new_fits].min()).item()


# Says by how much the loss falls as a share of today's loss (a relative fall) instead of in nats.
def a_share(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def best(losses_N, m, s):
        return losses_N[(memory_N <= m) & (seconds_N <= s)].min()

    now = best(loss_N, memory, seconds)
    falls = {
        "compute": 1 - best(loss_compute_N, memory, seconds) / now,
        "text": 1 - best(loss_text_N, memory, seconds) / now,
        "memory": 1 - best(loss_N, 2 * memory, seconds) / now,
        "time": 1 - best(loss_N, memory, 2 * seconds) / now,
    }
    most = max(falls, key=lambda name: falls[name])
    return most, falls[most].item()


FRESH = {
    "17.defend": [
        ("today's design for compute and text", todays_design, {"kept_for_training"}),
        ("the other limit dropped", other_dropped, {"other_limit_dropped"}),
        ("no limits for compute and text", training_fits_all, {"limits_ignored"}),
        ("the loss that is reached", loss_reached, {"loss_not_gain"}),
        ("the fuller bar", fuller_bar, {"fullest_bar"}),
        ("a share of the loss", a_share, {"relative_gain"}),
    ],
}

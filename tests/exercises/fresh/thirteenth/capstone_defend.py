"""The thirteenth set, lesson 17: what to buy, what a class would most likely hand in."""

import torch


def largest(gains):
    best = max(gains, key=gains.get)
    return best, float(gains[best])


def kept_for_training(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    best = torch.where(fits, loss_N, torch.inf).argmin()
    now = loss_N[best]
    return largest(
        {
            "compute": now - loss_compute_N[best],
            "text": now - loss_text_N[best],
            "memory": now - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
            "time": now - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
        }
    )


def limits_for_hardware_only(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    now = loss_N[(memory_N <= memory) & (seconds_N <= seconds)].min()
    return largest(
        {
            "compute": now - loss_compute_N.min(),
            "text": now - loss_text_N.min(),
            "memory": now - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
            "time": now - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
        }
    )


def one_limit_each(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    return largest(
        {
            "compute": now - loss_compute_N[fits].min(),
            "text": now - loss_text_N[fits].min(),
            "memory": now - loss_N[memory_N <= 2 * memory].min(),
            "time": now - loss_N[seconds_N <= 2 * seconds].min(),
        }
    )


def new_loss(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    losses = {
        "compute": loss_compute_N[fits].min(),
        "text": loss_text_N[fits].min(),
        "memory": loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "time": loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }
    best = min(losses, key=losses.get)
    return best, losses[best].item()


def then_minus_now(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    change = {
        "compute": loss_compute_N[fits].min() - now,
        "text": loss_text_N[fits].min() - now,
        "memory": loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min() - now,
        "time": loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min() - now,
    }
    best = min(change, key=change.get)
    return best, change[best].item()


def place_among_those_that_fit(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def best(losses, m, s):
        return losses[losses[(memory_N <= m) & (seconds_N <= s)].argmin()]

    now = best(loss_N, memory, seconds)
    return largest(
        {
            "compute": now - best(loss_compute_N, memory, seconds),
            "text": now - best(loss_text_N, memory, seconds),
            "memory": now - best(loss_N, 2 * memory, seconds),
            "time": now - best(loss_N, memory, 2 * seconds),
        }
    )


def largest_fall(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    return largest(
        {
            "compute": (loss_N - loss_compute_N)[fits].max(),
            "text": (loss_N - loss_text_N)[fits].max(),
            "memory": now - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
            "time": now - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
        }
    )


def doubled_on_the_wrong_side(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    return largest(
        {
            "compute": now - loss_compute_N[fits].min(),
            "text": now - loss_text_N[fits].min(),
            "memory": now - loss_N[(2 * memory_N <= memory) & (seconds_N <= seconds)].min(),
            "time": now - loss_N[(memory_N <= memory) & (2 * seconds_N <= seconds)].min(),
        }
    )


FRESH = {
    "17.defend": [
        ("kept with more compute or text", kept_for_training, {"kept_for_training"}),
        ("compute and text of any design", limits_for_hardware_only, {"limits_ignored"}),
        ("only the doubled limit", one_limit_each, {"other_limit_dropped"}),
        ("the new loss", new_loss, {"loss_not_gain"}),
        ("then minus now", then_minus_now, {"other_sign"}),
        ("place among those that fit", place_among_those_that_fit, {"place_lost"}),
        ("largest fall of one design", largest_fall, {"fall_of_any"}),
        ("the design doubled", doubled_on_the_wrong_side, {"halved"}),
    ],
}

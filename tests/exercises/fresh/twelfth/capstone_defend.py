"""Fresh wrong answers to 17.defend, and which names would be right."""

import torch

# 17.defend


def today_among_all(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    today = loss_N.min()
    fits_N = (memory_N <= memory) & (seconds_N <= seconds)
    gains = {
        "compute": today - loss_compute_N[fits_N].min(),
        "text": today - loss_text_N[fits_N].min(),
        "memory": today - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "time": today - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }
    best = max(gains, key=gains.get)
    return best, gains[best].item()


def training_among_all(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    today = loss_N[(memory_N <= memory) & (seconds_N <= seconds)].min()
    gains = {
        "compute": today - loss_compute_N.min(),
        "text": today - loss_text_N.min(),
        "memory": today - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "time": today - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }
    best = max(gains, key=gains.get)
    return best, gains[best].item()


def place_among_those_that_fit(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def best(losses, most_memory, most_seconds):
        fits = (memory_N <= most_memory) & (seconds_N <= most_seconds)
        i = losses[fits].argmin()
        return losses[i].item()

    today = best(loss_N, memory, seconds)
    gains = {
        "compute": today - best(loss_compute_N, memory, seconds),
        "text": today - best(loss_text_N, memory, seconds),
        "memory": today - best(loss_N, 2 * memory, seconds),
        "time": today - best(loss_N, memory, 2 * seconds),
    }
    resource = max(gains, key=gains.get)
    return resource, gains[resource]


def zeros_for_what_does_not_fit(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    more_memory = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    more_time = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    today = (loss_N * fits).min()
    gains = {
        "compute": today - (loss_compute_N * fits).min(),
        "text": today - (loss_text_N * fits).min(),
        "memory": today - (loss_N * more_memory).min(),
        "time": today - (loss_N * more_time).min(),
    }
    best = max(gains, key=gains.get)
    return best, float(gains[best])


def names_of_the_arguments(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    gains = {
        "compute": now - loss_compute_N[fits].min(),
        "tokens": now - loss_text_N[fits].min(),
        "memory": now - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "seconds": now - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }
    best = max(gains, key=gains.get)
    return best, float(gains[best])


def highest_is_best(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].max()
    gains = {
        "compute": now - loss_compute_N[fits].max(),
        "text": now - loss_text_N[fits].max(),
        "memory": now - loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].max(),
        "time": now - loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].max(),
    }
    best = max(gains, key=gains.get)
    return best, float(gains[best])


def twice_as_hungry(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    now = (memory_N <= memory) & (seconds_N <= seconds)
    with_memory = (2 * memory_N <= memory) & (seconds_N <= seconds)
    with_time = (memory_N <= memory) & (2 * seconds_N <= seconds)
    best = loss_N[now].min()
    found = [
        best - loss_compute_N[now].min(),
        best - loss_text_N[now].min(),
        best - loss_N[with_memory].min() if with_memory.any() else torch.tensor(0.0),
        best - loss_N[with_time].min() if with_time.any() else torch.tensor(0.0),
    ]
    i = int(torch.stack([gain.double() for gain in found]).argmax())
    return ("compute", "text", "memory", "time")[i], float(found[i])


def in_per_cent(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fits = (memory_N <= memory) & (seconds_N <= seconds)
    now = loss_N[fits].min()
    then = {
        "compute": loss_compute_N[fits].min(),
        "text": loss_text_N[fits].min(),
        "memory": loss_N[(memory_N <= 2 * memory) & (seconds_N <= seconds)].min(),
        "time": loss_N[(memory_N <= memory) & (seconds_N <= 2 * seconds)].min(),
    }
    best = min(then, key=then.get)
    return best, 100 * float((now - then[best]) / now)


def memory_stays_doubled(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def best(losses):
        return losses[(memory_N <= memory) & (seconds_N <= seconds)].min().item()

    now = best(loss_N)
    gains = {"compute": now - best(loss_compute_N), "text": now - best(loss_text_N)}
    memory = 2 * memory
    gains["memory"] = now - best(loss_N)
    seconds = 2 * seconds
    gains["time"] = now - best(loss_N)
    resource = max(gains, key=gains.get)
    return resource, gains[resource]


FRESH = {
    "17.defend": [
        ("today's best among all designs", today_among_all, {"limits_ignored"}),
        ("with compute or text the best of all designs", training_among_all, {"limits_ignored"}),
        ("the place among those that fit, looked up among all", place_among_those_that_fit, {"place_lost"}),
        ("0 for what does not fit", zeros_for_what_does_not_fit, {"zero_is_lowest"}),
        ("tokens and seconds for text and time", names_of_the_arguments, {"other_name"}),
        ("the highest loss taken for the best", highest_is_best, {"highest_taken"}),
        ("the designs' needs doubled", twice_as_hungry, {"halved"}),
        ("the fall in per cent", in_per_cent, {"relative_gain"}),
        ("memory stays doubled when time is", memory_stays_doubled, {"both_doubled"}),
    ],
}

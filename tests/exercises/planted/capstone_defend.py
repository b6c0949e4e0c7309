"""Answers to 17.defend as learners write them."""

import numpy as np
import torch

NAMES = ("compute", "text", "memory", "time")


def defend_in_a_table(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    tables = [
        (loss_N, 1, 1),
        (loss_compute_N, 1, 1),
        (loss_text_N, 1, 1),
        (loss_N, 2, 1),
        (loss_N, 1, 2),
    ]
    reached = []
    for losses, m, s in tables:
        bad = (memory_N > m * memory) | (seconds_N > s * seconds)
        reached.append(losses.masked_fill(bad, 1e9).min())
    fall = reached[0] - torch.stack(reached[1:])
    return NAMES[int(fall.argmax())], fall.max()


def defend_loop(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    best = dict.fromkeys((*NAMES, "now"), float("inf"))
    for a, b, c, m, s in zip(
        *(t.tolist() for t in (loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N)), strict=True
    ):
        if m <= memory and s <= seconds:
            best["now"], best["compute"], best["text"] = (
                min(best["now"], a),
                min(best["compute"], b),
                min(best["text"], c),
            )
        if m <= 2 * memory and s <= seconds:
            best["memory"] = min(best["memory"], a)
        if m <= memory and s <= 2 * seconds:
            best["time"] = min(best["time"], a)
    now = best.pop("now")
    winner = sorted(best, key=best.get)[0]
    return winner, now - best[winner]


def defend_sorted(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def first(losses, m, s):
        order = np.argsort(losses.numpy())
        fits = ((memory_N / m <= memory) & (seconds_N / s <= seconds)).numpy()[order]
        return losses.numpy()[order][fits.argmax()]

    now = first(loss_N, 1, 1)
    falls = [
        now - first(loss_compute_N, 1, 1),
        now - first(loss_text_N, 1, 1),
        now - first(loss_N, 2, 1),
        now - first(loss_N, 1, 2),
    ]
    return max(zip(NAMES, falls, strict=True), key=lambda pair: pair[1])


def slip(
    pick=max,
    number=lambda now, then: now - then,
    best=torch.min,
    factor=2.0,
    memory_counts=1,
    time_counts=1,
    other=1.0,
    drop=0,
    say=None,
):
    def defend(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
        def ok(m, s):
            a = (memory_N <= m * memory) if memory_counts and not (drop and s > 1) else memory_N > 0
            return a & ((seconds_N <= s * seconds) if time_counts and not (drop and m > 1) else seconds_N > 0)

        now = best(loss_N[ok(1, 1)]).item()
        then = {
            "compute": best(loss_compute_N[ok(1, 1)]).item(),
            "text": best(loss_text_N[ok(1, 1)]).item(),
            "memory": best(loss_N[ok(factor, other)]).item(),
            "time": best(loss_N[ok(other, factor)]).item(),
        }
        name = say or pick(then, key=lambda n: now - then[n])
        return name, number(now, then[name])

    return defend


def keeps_the_design(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    i = min(
        (x, i) for i, x in enumerate(loss_N.tolist()) if memory_N[i] <= memory and seconds_N[i] <= seconds
    )[1]
    falls = {"compute": loss_N[i] - loss_compute_N[i], "text": loss_N[i] - loss_text_N[i]}
    name = max(falls, key=falls.get)
    return name, falls[name]


def keeps_the_design_in_training(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    small, fast = memory_N <= memory, seconds_N <= seconds
    i = loss_N.masked_fill(~(small & fast), 99).argmin()
    reached = [
        loss_compute_N[i],
        loss_text_N[i],
        loss_N[fast & (memory_N <= 2 * memory)].min(),
        loss_N[small & (seconds_N <= 2 * seconds)].min(),
    ]
    then = torch.stack(reached)
    return NAMES[int(then.argmin())], (loss_N[i] - then.min()).item()


def limits_in_part(today, training):
    def defend(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
        small, fast = memory_N <= memory, seconds_N <= seconds
        now = loss_N[(small & fast) | (not today)].min()
        reached = [
            loss_compute_N[(small & fast) | (not training)].min(),
            loss_text_N[(small & fast) | (not training)].min(),
            loss_N[fast & (memory_N <= 2 * memory)].min(),
            loss_N[small & (seconds_N <= 2 * seconds)].min(),
        ]
        fall = now - torch.stack(reached)
        return NAMES[int(fall.argmax())], fall.max()

    return defend


def full_bar(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    ok = (memory_N <= memory) & (seconds_N <= seconds)
    i = loss_N.masked_fill(~ok, 99).argmin()
    memory_is_full = memory_N[i] / memory > seconds_N[i] / seconds
    more = (memory_N <= (1 + memory_is_full) * memory) & (seconds_N <= (2 - 1 * memory_is_full) * seconds)
    return "memory" if memory_is_full else "time", loss_N[i] - loss_N[more].min()


def one_is_enough(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def best(losses, m=1, s=1):
        return min(
            x
            for x, a, b in zip(losses, memory_N, seconds_N, strict=True)
            if a <= m * memory or b <= s * seconds
        )

    fall = [
        best(loss_N) - x
        for x in (best(loss_compute_N), best(loss_text_N), best(loss_N, 2), best(loss_N, 1, 2))
    ]
    i = fall.index(max(fall))
    return NAMES[i], fall[i]


def largest_difference(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    small, fast = memory_N <= memory, seconds_N <= seconds
    now = min(loss_N[small & fast].tolist())
    falls = [
        max((loss_N[small & fast] - loss_compute_N[small & fast]).tolist()),
        max((loss_N[small & fast] - loss_text_N[small & fast]).tolist()),
        now - loss_N[fast & (memory_N <= 2 * memory)].min(),
        now - loss_N[small & (seconds_N <= 2 * seconds)].min(),
    ]
    return NAMES[falls.index(max(falls))], float(max(falls))


def in_the_short_list(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    """The place is one in the list of those that fit."""

    def best(losses, m=1, s=1):
        short = losses[(memory_N <= m * memory) & (seconds_N <= s * seconds)].tolist()
        return float(losses[short.index(min(short))])

    reached = [best(loss_compute_N), best(loss_text_N), best(loss_N, m=2), best(loss_N, s=2)]
    return NAMES[reached.index(min(reached))], best(loss_N) - min(reached)


def zeros(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    def best(losses, m=1, s=1):
        return torch.where((memory_N <= m * memory) & (seconds_N <= s * seconds), losses, 0.0).min()

    now = best(loss_N)
    fall = [
        now - best(loss_compute_N),
        now - best(loss_text_N),
        now - best(loss_N, 2),
        now - best(loss_N, 1, 2),
    ]
    return NAMES[fall.index(max(fall))], max(fall)


def one_side_drops(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    small, fast = memory_N <= memory, seconds_N <= seconds
    then = {
        "compute": loss_compute_N[small & fast].min(),
        "text": loss_text_N[small & fast].min(),
        "memory": loss_N[memory_N <= 2 * memory].min(),
        "time": loss_N[small & (seconds_N <= 2 * seconds)].min(),
    }
    name = min(then, key=then.get)
    return name, loss_N[small & fast].min() - then[name]


def memory_stays_twice(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    fast = seconds_N <= seconds
    fits = fast & (memory_N <= memory)
    then = {"compute": loss_compute_N[fits].min(), "text": loss_text_N[fits].min()}
    memory *= 2
    then["memory"] = loss_N[fast & (memory_N <= memory)].min()
    seconds *= 2
    then["time"] = loss_N[(memory_N <= memory) & (seconds_N <= seconds)].min()
    name = min(then, key=then.get)
    return name, loss_N[fits].min() - then[name]


def both_for_all(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    now = loss_N[(memory_N <= memory) & (seconds_N <= seconds)].min()
    more = (memory_N / 2 <= memory) & (seconds_N / 2 <= seconds)
    fall = now - torch.stack([z[more].min() for z in (loss_compute_N, loss_text_N, loss_N, loss_N)])
    return NAMES[int(fall.argmax())], fall.max()


def other_words(**words):
    def defend(*given):
        name, gain = defend_loop(*given)
        return words.get(name, name), gain

    return defend


WRONG = {
    "17.defend": {
        "design_kept": keeps_the_design,
        "kept_for_training": keeps_the_design_in_training,
        "fall_of_any": largest_difference,
        "fullest_bar": full_bar,
        "limits_ignored": slip(memory_counts=0, time_counts=0),
        "limits_ignored:in training": limits_in_part(today=True, training=False),
        "limits_ignored:today": limits_in_part(today=False, training=True),
        "time_not_looked_at": slip(time_counts=0),
        "memory_not_looked_at": slip(memory_counts=0),
        "other_limit_dropped": slip(drop=1),
        "other_limit_dropped:for memory": one_side_drops,
        "both_doubled": slip(other=2.0),
        "both_doubled:for all": both_for_all,
        "both_doubled:for time": memory_stays_twice,
        "other_factor": slip(factor=10),
        "other_factor:without end": slip(factor=1e9),
        "halved": slip(factor=0.5),
        "either_limit": one_is_enough,
        "averaged": slip(best=torch.mean),
        "place_lost": in_the_short_list,
        "zero_is_lowest": zeros,
        "highest_taken": slip(best=torch.max),
        "first_taken": slip(best=lambda losses: losses[0]),
        "least_of_all": slip(pick=min),
        "least_of_all:differences turned": slip(pick=min, number=lambda now, then: then - now),
        "always_compute": slip(say="compute"),
        "always_memory": slip(say="memory"),
        "always_text": slip(say="text"),
        "always_time": slip(say="time"),
        "names_exchanged": other_words(compute="text", text="compute"),
        "names_exchanged:memory and time": other_words(memory="time", time="memory"),
        "other_name": other_words(text="tokens", time="seconds"),
        "other_name:all": other_words(compute="flops", text="tokens", memory="bytes", time="seconds"),
        "rounded": slip(number=lambda now, then: round(now - then, 2)),
        "loss_not_gain": slip(number=lambda now, then: then),
        "loss_of_today": slip(number=lambda now, then: now),
        "other_sign": slip(number=lambda now, then: then - now),
        "relative_gain": slip(number=lambda now, then: 1 - then / now),
        "relative_gain:what is left": slip(number=lambda now, then: then / now),
    }
}
RIGHT = {"17.defend": [defend_in_a_table, defend_loop, defend_sorted]}

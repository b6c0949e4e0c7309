"""The mistakes of 17.defend: what is said of each, and what comes of it."""

import numpy as np
import torch

from moe_lessons.exercises.capstone.buying import RESOURCES
from moe_lessons.exercises.capstone.defend_wrong import (
    all_doubled,
    always,
    backwards,
    but,
    constant,
    exchanged,
    falls,
    fullest,
    kept,
    kept_for_training,
    misplaced,
    misplaced_then,
    misplaced_today,
    number,
    rounded,
    smallest,
    smallest_of_other_sign,
    today_without_limits,
    training_without_limits,
)
from moe_lessons.exercises.spec import Case, Misconception, Outputs


def other_name(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether a resource is called by none of the four names.

    Of four names one may be another and the rest right: where the right answer itself is looked at, nothing
    speaks against that.
    """
    name = got["resource"]
    return got is want or (np.asarray(name).dtype.kind in "Ui" and name not in RESOURCES)


MISTAKES = (
    Misconception(
        "design_kept",
        "The old design is kept. It cannot use more memory or time, so that neither seems worth "
        "anything: choose anew among all that fit then.",
        wrong=kept,
        hint=1,
    ),
    Misconception(
        "kept_for_training",
        "With more compute or text today's design is kept. Another one that fits may be the best by "
        "then: choose anew for each of the four.",
        wrong=kept_for_training,
        hint=1,
    ),
    Misconception(
        "fall_of_any",
        "With more compute or text it was asked how far *one* design's loss falls, whichever falls most. "
        "The largest falls are those of poor designs: compare the best loss of today with the best one "
        "of then.",
        wrong=falls(torch.max),
        also=(falls(torch.max, limits=False),),
        hint=3,
    ),
    Misconception(
        "fullest_bar",
        "The resource that is used up most is named. A design that leaves some room may be held back by "
        "the next larger one not fitting, and a full bar may cost nothing: compare what each would buy.",
        wrong=fullest,
        hint=1,
    ),
    Misconception(
        "limits_ignored",
        "Designs that do not fit are in the comparison. The best of all is of no use where it does not run.",
        wrong=but(look_at_memory=False, look_at_time=False),
        also=(training_without_limits, today_without_limits),
        hint=2,
    ),
    Misconception(
        "time_not_looked_at",
        "Only memory decides here what fits. A step has to be fast enough as well.",
        wrong=but(look_at_time=False),
        hint=2,
    ),
    Misconception(
        "memory_not_looked_at",
        "Only time decides here what fits. A design has to be held as well.",
        wrong=but(look_at_memory=False),
        hint=2,
    ),
    Misconception(
        "other_limit_dropped",
        "With twice the memory or the time, the other limit was forgotten. It stays: more memory makes no "
        "step faster, and more time makes no design smaller.",
        wrong=but(keep_other=False),
        also=(
            but(keep_other=False, one_sided="memory"),
            but(keep_other=False, one_sided="time"),
        ),
        hint=2,
    ),
    Misconception(
        "both_doubled",
        "Memory and time were doubled together, or with compute or text. One resource is paid for, and only "
        "that one doubles.",
        wrong=but(together=True),
        also=(
            but(together=True, one_sided="memory"),
            but(together=True, one_sided="time"),
            all_doubled,
        ),
        hint=2,
    ),
    Misconception(
        "halved",
        "The limits were halved, or what designs need was doubled, which is the same. What less of something "
        "costs is not what more of it buys.",
        wrong=but(factor=0.5),
        hint=2,
    ),
    Misconception(
        "other_factor",
        "Limits were raised by another factor than two, or dropped.",
        wrong=but(factor=10.0),
        also=(
            but(factor=4.0),
            but(factor=1.5),
            *(but(factor=factor) for factor in (3.0, 8.0, 1.1, 100.0, float("inf"))),
        ),
        hint=2,
    ),
    Misconception(
        "either_limit",
        "A design counts as fitting if it keeps *one* of the two limits. It has to keep both.",
        wrong=but(either=True),
        hint=2,
    ),
    Misconception(
        "place_lost",
        "The place of the lowest loss *among those that fit* was looked up in the whole list, where another "
        "design stands at it. Take the lowest loss itself, or set the others to infinity first.",
        wrong=but(best=misplaced),
        also=(
            misplaced_then,
            misplaced_today(anew=True, right_now=True),
            misplaced_today(anew=True, right_now=False),
            misplaced_today(anew=False, right_now=True),
            misplaced_today(anew=False, right_now=False),
        ),
        hint=3,
    ),
    Misconception(
        "zero_is_lowest",
        "The gain is 0, or all of the loss, for every budget. Where what does not fit is set to 0 (a product "
        "with the mask does that), 0 is the lowest loss there is: leave those out, or set them to infinity.",
        wrong=constant("compute"),
        also=tuple(constant(name, today=today) for name in RESOURCES for today in (False, True))[1:],
        hint=3,
    ),
    Misconception(
        "highest_taken",
        "The *highest* loss of those that fit was taken for the best. The lower the loss, the better.",
        wrong=but(best=lambda losses, fits: float(losses[fits].max())),
        also=(backwards,),
        hint=3,
    ),
    Misconception(
        "first_taken",
        "Of the designs that fit the first, or the last, was taken. They are in no order: take the lowest "
        "loss.",
        wrong=but(best=lambda losses, fits: float(losses[fits][0])),
        also=(but(best=lambda losses, fits: float(losses[fits][-1])),),
        hint=3,
    ),
    Misconception(
        "averaged",
        "The mean over the designs was compared, or the median. Nobody builds the average design: take the "
        "best one.",
        wrong=but(best=lambda losses, fits: float(losses[fits].mean())),
        also=(
            but(best=lambda losses, fits: float(losses[fits].median())),
            falls(torch.mean),
            falls(torch.median),
        ),
        hint=3,
    ),
    Misconception(
        "least_of_all",
        "The resource that buys *least* is named.",
        wrong=smallest,
        also=(smallest_of_other_sign,),
        hint=3,
    ),
    Misconception(
        "always_compute",
        "Compute is named for every budget. Where text or memory is short, or a step must be faster, "
        "something else buys more.",
        wrong=always("compute"),
        hint=1,
    ),
    Misconception(
        "always_memory",
        "Memory is named for every budget. It helps where better designs are too large; they may be too slow "
        "instead, or short of compute or text.",
        wrong=always("memory"),
        hint=1,
    ),
    Misconception(
        "always_text",
        "Text is named for every budget. Where compute is spent to the end, or memory is full, more text "
        "buys little.",
        wrong=always("text"),
        hint=1,
    ),
    Misconception(
        "always_time",
        "Time is named for every budget. It helps where better designs are too slow, and they may be too "
        "large instead.",
        wrong=always("time"),
        hint=1,
    ),
    Misconception(
        "names_exchanged",
        "The number is right, and two resources have each other's name. See which of the five situations "
        "goes with which name.",
        wrong=exchanged("compute", "text"),
        also=(exchanged("memory", "time"),),
        hint=2,
    ),
    Misconception(
        "other_name",
        'The resource has another name than those that are asked for: `"compute"`, `"text"`, `"memory"` or '
        '`"time"`, and not the name of an argument or a place in a list.',
        detects=other_name,
        hint=1,
    ),
    Misconception(
        "rounded",
        "The fall was rounded. Return the number as it is: some of these are one or two hundredths of a nat.",
        wrong=rounded(2),
        also=tuple(map(rounded, (0, 1, 3, 4))),
        hint=3,
    ),
    Misconception(
        "loss_not_gain",
        "The loss that is reached is returned. Asked is by how much it falls.",
        wrong=number(lambda gain, now: now - gain),
        hint=3,
    ),
    Misconception(
        "loss_of_today",
        "This is the loss without anything more. Asked is by how much it falls.",
        wrong=number(lambda gain, now: now),
        hint=3,
    ),
    Misconception(
        "other_sign",
        "The fall has the other sign: a lower loss is a gain above 0.",
        wrong=number(lambda gain, now: -gain),
        hint=3,
    ),
    Misconception(
        "relative_gain",
        "The fall, or the loss, was divided by a loss. Asked is the difference, in nats.",
        wrong=number(lambda gain, now: gain / now),
        also=(
            number(lambda gain, now: gain / (now - gain)),
            number(lambda gain, now: 100 * gain / now),
            number(lambda gain, now: 100 * gain / (now - gain)),
            number(lambda gain, now: (now - gain) / now),
            number(lambda gain, now: now / (now - gain)),
        ),
        hint=3,
    ),
)

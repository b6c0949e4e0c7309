"""Exercise 15.quantise: a few bits for each weight, and a scale for each group of neighbours."""

import numpy as np
import torch

from moe_lessons.exercises.serving.quantising import (
    asymmetric,
    changed,
    divided,
    draw,
    half_range,
    nonzero,
    of_whole_codes,
    over_outputs,
    reference,
    row_magnitude,
    scaled,
    strided,
    symmetric,
    unclamped,
    variant,
    varied,
    wide,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def _half_a_scale(case: Case, got: Outputs, want: Outputs) -> str | None:
    weight_FD = np.asarray(case.args["weight_FD"])
    scales_FD = np.repeat(got["scales_FG"], weight_FD.shape[1] // got["scales_FG"].shape[1], axis=1)
    over = np.abs(got["weights_FD"] - weight_FD) > 0.5001 * np.abs(scales_FD) + 1e-6
    if not over.any():
        return None
    f, d = np.argwhere(over)[0]
    return f"weight [{f}, {d}] moves by more than half of its scale"


def _largest(case: Case, got: Outputs, want: Outputs) -> str | None:
    weight_FGP = np.asarray(case.args["weight_FD"]).reshape(*want["scales_FG"].shape, -1)
    back_FGP = np.reshape(got["weights_FD"], weight_FGP.shape)
    at = np.abs(weight_FGP).argmax(axis=-1)[..., None]
    was, now = (np.take_along_axis(x, at, axis=-1)[..., 0] for x in (weight_FGP, back_FGP))
    off = np.abs(was - now) > 1e-5 + 1e-4 * np.abs(was)
    if not off.any():
        return None
    f, g = np.argwhere(off)[0]
    return f"the largest of group [{f}, {g}] was {was[f, g]:.4g} and becomes {now[f, g]:.4g}"


QUANTISE = Exercise(
    id="15.quantise",
    title="Four bits for a weight",
    task=(
        "Quantise a matrix, symmetrically and to nearest. Each row of `weight_FD` falls into groups of "
        "`group` neighbouring inputs (a divisor of D), and each group has one scale. Codes are whole numbers "
        "from `-top` to `top` with `top = 2^(bits-1) - 1`, and the largest *magnitude* of a group gets code "
        "±top. A group of zeros has the scale 0, and zeros come back. Return the codes [F, D] as int64, the "
        "scales [F, D/group], and the weights [F, D] that codes and scales stand for."
    ),
    entry="quantise",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(
        Output("codes_FD", "FD", kind="int"),
        Output("scales_FG", "FG"),
        Output("weights_FD", "FD"),
    ),
    draw=draw,
    reference=reference,
    gradient="ignored",  # a trained model is stored; nothing learns through it
    properties=(
        Property("each weight moves by at most half of its scale", _half_a_scale),
        Property("the largest of each group stays as it is", _largest),
    ),
    misconceptions=(
        Misconception(
            "one_scale_per_tensor",
            "The whole matrix has one scale. Its largest weight decides for all, and rows of small weights "
            "round to nothing. Each group has a scale of its own.",
            wrong=varied(scale=lambda x, top: x.abs().amax() / top),
            hint=2,
        ),
        Misconception(
            "one_scale_per_row",
            "Each row has one scale. That is usual for int8; with four bits one large weight costs its whole "
            "row too much. Take the maximum within each group.",
            wrong=varied(scale=row_magnitude),
            hint=2,
        ),
        Misconception(
            "groups_along_outputs",
            "The groups run down the columns, over outputs. What is added up in a product is a *row*: its "
            "neighbouring inputs share a scale.",
            wrong=over_outputs,
            also=(varied(scale=lambda x, top: x.abs().amax(dim=(0, 2)) / top),),
            hint=2,
        ),
        Misconception(
            "dealt_in_turn",
            "A group takes inputs that lie D/group apart. It takes `group` neighbours.",
            wrong=strided,
            hint=2,
        ),
        Misconception(
            "group_for_count",
            "`group` was taken for the number of groups in a row. It is the number of weights in each: there "
            "are D/group groups.",
            wrong=lambda w, b, g: reference(w, b, w.shape[1] // g),
            hint=2,
        ),
        Misconception(
            "rounded_down",
            "The codes are cut off, not rounded, which doubles the largest error. Take the nearest whole "
            "number.",
            wrong=varied(rounding=torch.trunc),
            also=(
                varied(rounding=torch.floor),
                varied(rounding=torch.ceil),
                varied(rounding=lambda x: (x + 0.5).trunc()),
            ),
            hint=3,
        ),
        Misconception(
            "all_bits_for_the_size",
            "The largest code is 2^bits - 1. One of the bits is spent on the sign, and what does not fit is "
            "cut off at the top.",
            wrong=varied(top_of=lambda bits: 2**bits - 1),
            also=(
                varied(top_of=lambda bits: 2**bits - 1, lowest=lambda bits: 1 - 2 ** (bits - 1)),
                lambda w, b, g: variant(w, b + 1, g),
                lambda w, b, g: wide(w, b, g),
            ),
            hint=1,
        ),
        Misconception(
            "top_one_too_large",
            "The scale is the magnitude over 2^(bits-1). There is no such code: with four bits the largest "
            "is 7, and 8 has to be cut off.",
            wrong=varied(top_of=lambda bits: 2 ** (bits - 1)),
            also=(
                varied(top_of=lambda bits: 2 ** (bits - 1), lowest=lambda bits: 1 - 2 ** (bits - 1)),
                lambda w, b, g: unclamped(w, 2 ** (b - 1), g),
            ),
            hint=1,
        ),
        Misconception(
            "bits_ignored",
            "The largest code is 127, or 7, whatever `bits` says. It follows from them.",
            wrong=lambda w, b, g: unclamped(w, 127, g),
            also=(lambda w, b, g: variant(w, 8, g), lambda w, b, g: variant(w, 4, g)),
            hint=1,
        ),
        Misconception(
            "one_code_less",
            "The largest code is one short of what the bits can hold, or of half as many. It is "
            "2^(bits-1) - 1: 7 with four bits.",
            wrong=varied(top_of=lambda bits: 2 ** (bits - 1) - 2),
            also=(lambda w, b, g: variant(w, b - 1, g), varied(top_of=lambda bits: 2 ** (bits - 2))),
            hint=1,
        ),
        Misconception(
            "largest_value_not_magnitude",
            "The scale comes from the largest *value*. Where the largest magnitude is that of a "
            "negative weight, it is cut off at the bottom. Take the magnitude first, then the maximum.",
            wrong=varied(scale=lambda x, top: x.amax(dim=-1).clamp_min(0) / top),
            also=(
                varied(scale=lambda x, top: x.amax(dim=-1) / top),
                varied(scale=lambda x, top: x.amax(dim=-1) / top, safe=False),
                varied(scale=lambda x, top: x.amax(dim=-1).abs() / top),
                varied(scale=lambda x, top: x.amax(dim=-1).abs() / top, limit=False),
                varied(scale=lambda x, top: x.amax(dim=-1) / top, safe=False, limit=False),
                varied(scale=lambda x, top: x.amax(dim=-1) / top, safe=False, lowest=symmetric),
                varied(scale=lambda x, top: x.amax(dim=-1).clamp_min(0) / top, lowest=symmetric),
            ),
            hint=2,
        ),
        Misconception(
            "average_for_largest",
            "The scale comes from a group's average magnitude, or its spread. What is larger than that is "
            "cut off, and those are the weights that matter most.",
            wrong=varied(scale=lambda x, top: x.abs().mean(dim=-1) / top),
            also=(
                varied(scale=lambda x, top: x.square().mean(dim=-1).sqrt() / top),
                varied(scale=lambda x, top: x.std(dim=-1) / top),
                varied(scale=lambda x, top: x.abs().mean(dim=-1) / top, limit=False),
            ),
            hint=1,
        ),
        Misconception(
            "half_the_range",
            "The scale is half of the way from the smallest to the largest weight. Where the two are not "
            "equally far from 0, one of them is cut off.",
            wrong=varied(scale=half_range),
            also=(varied(scale=half_range, limit=False),),
            hint=2,
        ),
        Misconception(
            "asymmetric",
            "Smallest and largest weight span the codes from 0 on. That needs a second number for each "
            "group, where zero lies. Here the codes are symmetric: 0 is 0.",
            wrong=asymmetric,
            also=(
                lambda w, b, g: (
                    asymmetric(w, b, g)[0] - 2 ** (b - 1),
                    *asymmetric(w, b, g)[1:],
                ),
            ),
            hint=1,
        ),
        Misconception(
            "codes_returned_as_weights",
            "The third output holds the codes. Times their scale they are weights again.",
            wrong=changed(lambda q, b: (q[0], q[1], q[0].float())),
            hint=3,
        ),
        Misconception(
            "weights_untouched",
            "The third output is the matrix that came in, or the scaled one before it was rounded. What a "
            "quantised layer computes with is code times scale.",
            wrong=lambda w, b, g: (*reference(w, b, g)[:2], w),
            also=(lambda w, b, g: (*reference(w, b, g)[:2], scaled(w, b, g)),),
            hint=3,
        ),
        Misconception(
            "scale_upside_down",
            "The scales are top over magnitude. That is what one multiplies by to get codes; stored is what "
            "brings them back, magnitude over top.",
            wrong=changed(lambda q, b: (q[0], torch.where(q[1] > 0, 1 / q[1], 0.0), q[2])),
            also=(
                changed(lambda q, b: (q[0], 1 / q[1], q[2])),
                lambda w, b, g: (*reference(w, b, g)[:2], divided(w, b, g)),
            ),
            hint=3,
        ),
        Misconception(
            "magnitudes_for_scales",
            "The scales are the largest magnitudes themselves. A scale is what *one step* is worth: the "
            "magnitude over top.",
            wrong=changed(lambda q, b: (q[0], q[1] * (2 ** (b - 1) - 1), q[2])),
            hint=3,
        ),
        Misconception(
            "codes_from_zero",
            "The codes were moved up so that they start at 0. Symmetric codes go from -top to top.",
            wrong=changed(lambda q, b: (q[0] + 2 ** (b - 1) - 1, *q[1:])),
            also=(changed(lambda q, b: (q[0] + 2 ** (b - 1), *q[1:])),),
            hint=1,
        ),
        Misconception(
            "sign_lost",
            "The codes have lost their sign: magnitudes decide the scale, and only the scale.",
            wrong=changed(lambda q, b: (q[0].abs(), q[1], q[2].abs())),
            hint=2,
        ),
        Misconception(
            "zero_group_is_nan",
            "A group of zeros has the scale 0, and 0/0 is not a number. Divide by something else there; its "
            "codes are 0 whatever it is.",
            wrong=varied(safe=False),
            also=(
                varied(scale=lambda x, top: (x.abs().amax(dim=-1) / top).nan_to_num(1), safe=False),
                varied(safe=False, whole=False),
                of_whole_codes,
            ),
            hint=3,
        ),
        Misconception(
            "zero_group_has_a_scale",
            "A group of zeros got a scale that is not 0, a guard against division by zero that was stored. "
            "Guard the division alone.",
            wrong=varied(scale=lambda x, top: nonzero(x.abs().amax(dim=-1) / top, 1.0)),
            also=(
                varied(scale=lambda x, top: nonzero(x.abs().amax(dim=-1), 1.0) / top),
                varied(scale=lambda x, top: nonzero(x.abs().amax(dim=-1) / top, 1.0 / top)),
            ),
            hint=3,
        ),
    ),
    hints=(
        "Which codes are there with four bits, if 0 is to be 0 and the sign takes one of them? Which weight "
        "of a group should get the largest?",
        "`weight_FD.unflatten(1, (-1, group))` puts a group into an axis of its own; then `abs()` and "
        "`amax(-1)`.",
        "Scale: `largest / top`. Codes: `(grouped / torch.where(scale > 0, scale, 1)[..., None]).round()`. "
        "Weights: codes times scale, and `flatten(1)`.",
    ),
    notice=(
        "Where the scale is 0 the division gets another divisor and nothing else changes: the stored scale "
        "stays 0, and 0 times any code is 0."
    ),
)

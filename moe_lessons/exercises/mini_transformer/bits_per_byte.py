"""Exercise 10.bits_per_byte: the number that models of one text are compared by."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs

Tensor = torch.Tensor


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Windows of uneven length, the first always full; one case where all are; one with very large logits."""
    cases = []
    for lengths, n_bytes, scale in [
        ((6, 2, 5), 9, 2),
        ((4, 4, 4, 1), 7, 2),
        ((5, 3), 12, 2),
        ((3, 3), 8, 2),
        ((4, 2), 6, 40),
    ]:
        shape = len(lengths), max(lengths)
        lengths_W = np.array(lengths)
        real_WL = np.arange(shape[1]) < lengths_W[:, None]
        args: dict[str, np.ndarray] = {
            "logits_WLV": (scale * rng.standard_normal((*shape, n_bytes))).astype(np.float32),
            "targets_WL": np.where(real_WL, rng.integers(0, n_bytes, shape), 0),
            "lengths_W": lengths_W,
        }
        args["targets_WL"][0, :2] = 0, 1  # a byte of value 0 is a byte
        if scale > 2:  # the target is sure to be all but impossible, and another byte sure to be all there is
            args["logits_WLV"][0, 0, :2] = -100, 100
        large = ", logits of 100" if scale > 2 else ""
        cases.append(Case(f"windows of {', '.join(map(str, lengths))} bytes{large}", args, edge=scale > 2))
    return cases


def surprises(logits_WLV: Tensor, targets_WL: Tensor) -> Tensor:
    """Minus the log-probability of each target, in nats."""
    return -logits_WLV.log_softmax(dim=-1).gather(-1, targets_WL.unsqueeze(-1)).squeeze(-1)


def real(targets_WL: Tensor, lengths_W: Tensor) -> Tensor:
    """True where a window has a byte."""
    return torch.arange(targets_WL.shape[1]) < lengths_W.unsqueeze(-1)


def mean_nats(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> Tensor:
    """The mean over all real bytes."""
    return surprises(logits_WLV, targets_WL)[real(targets_WL, lengths_W)].mean()


def reference(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    """Nats over all bytes, over the number of bytes, over ln 2."""
    return mean_nats(logits_WLV, targets_WL, lengths_W).item() / math.log(2)


def _mean_of_means(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    nats_WL = surprises(logits_WLV, targets_WL) * real(targets_WL, lengths_W)
    return (nats_WL.sum(dim=1) / lengths_W).mean().item() / math.log(2)


def _padding_in_the_mean(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    nats_WL = surprises(logits_WLV, targets_WL) * real(targets_WL, lengths_W)
    return nats_WL.mean().item() / math.log(2)


def _full_windows_only(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    full_W = lengths_W == targets_WL.shape[1]
    return surprises(logits_WLV, targets_WL)[full_W].mean().item() / math.log(2)


def _zeros_left_out(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    return surprises(logits_WLV, targets_WL)[targets_WL != 0].mean().item() / math.log(2)


def _one_too_many(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    return mean_nats(
        logits_WLV, targets_WL, (lengths_W + 1).clamp(max=targets_WL.shape[1])
    ).item() / math.log(2)


def _one_too_few(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    return mean_nats(logits_WLV, targets_WL, lengths_W - 1).item() / math.log(2)


def _shifted(mark: int, logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    """Logits at l with targets at l + 1, where the target (mark 1) or the logits' place (0) is real."""
    nats_WL = surprises(logits_WLV[:, :-1], targets_WL[:, 1:])
    kept_WL = real(targets_WL, lengths_W)[:, mark:][:, : nats_WL.shape[1]]
    return nats_WL[kept_WL].mean().item() / math.log(2)


def _logits_as_they_are(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    chosen_WL = logits_WLV.gather(-1, targets_WL.unsqueeze(-1)).squeeze(-1)
    return -chosen_WL[real(targets_WL, lengths_W)].mean().item()


def _summed(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    return reference(logits_WLV, targets_WL, lengths_W) * int(lengths_W.sum())


def _overflows(case: Case, got: Outputs, want: Outputs) -> bool:
    """Right, and where logits are large infinite or no number at all."""
    found, right = float(got["bits_per_byte"]), float(want["bits_per_byte"])
    if "logits of 100" in case.name:
        return not math.isfinite(found)
    return math.isclose(found, right, rel_tol=1e-4)


def _mean_probability(logits_WLV: Tensor, targets_WL: Tensor, lengths_W: Tensor) -> float:
    probabilities = (-surprises(logits_WLV, targets_WL)[real(targets_WL, lengths_W)]).exp()
    return -math.log2(probabilities.mean().item())


BITS_PER_BYTE = Exercise(
    id="10.bits_per_byte",
    title="Bits per byte",
    task=(
        "Return the mean number of bits that a model needs per held-out byte, as one number. There are W "
        "windows, padded to one length L; window w has `lengths_W[w]` real bytes, at its beginning, and what "
        "stands behind them does not count. A byte costs minus the base-2 logarithm of the probability that "
        "the softmax of `logits_WLV[w, l]` gives to `targets_WL[w, l]`. Every real byte counts the same, "
        "whichever window it is in."
    ),
    entry="bits_per_byte",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(Output("bits_per_byte"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "mean_of_means",
            "Each window was averaged first, and then the windows. A byte in a short window then counts more "
            "than one in a long window. Add up all bytes and divide once.",
            wrong=_mean_of_means,
        ),
        Misconception(
            "nats",
            "This is in nats: the logarithm was natural. One bit is ln 2 nats.",
            wrong=lambda *a: mean_nats(*a).item(),
            hint=2,
        ),
        Misconception(
            "times_ln2",
            "Nats were multiplied by ln 2. A nat is more than a bit (1/ln 2 of them), so the number of bits "
            "must be the larger one: divide.",
            wrong=lambda *a: mean_nats(*a).item() * math.log(2),
            hint=2,
        ),
        Misconception(
            "log10",
            "The logarithm is base 10: these are decimal digits, not bits.",
            wrong=lambda *a: mean_nats(*a).item() / math.log(10),
            hint=2,
        ),
        Misconception(
            "perplexity",
            "This is the perplexity, the exponential of the mean loss. Bits per byte is the mean loss "
            "itself, in base 2.",
            wrong=lambda *a: math.exp(mean_nats(*a).item()),
            hint=2,
        ),
        Misconception(
            "padding_scored",
            "The padding was scored as if it were text. The zeros behind a window's end are no bytes; only "
            "the first `lengths_W[w]` positions of window w count.",
            wrong=lambda logits, targets, lengths: surprises(logits, targets).mean().item() / math.log(2),
            hint=3,
        ),
        Misconception(
            "padding_in_the_mean",
            "The padding's loss was set to 0, and then the mean went over all W*L positions. Divide by the "
            "number of real bytes, or padding makes every model look better.",
            wrong=_padding_in_the_mean,
            hint=3,
        ),
        Misconception(
            "zeros_left_out",
            "Bytes of value 0 were left out, as `ignore_index=0` does, or a mask `targets != 0`. The "
            "padding is 0 and so is a real byte; only `lengths_W` can tell the two apart.",
            wrong=_zeros_left_out,
            hint=3,
        ),
        Misconception(
            "one_too_many",
            "The first position behind each window's end was scored too. Position l is real where l < "
            "length.",
            wrong=_one_too_many,
            hint=3,
        ),
        Misconception(
            "one_too_few",
            "The last real byte of each window is missing. The targets are given, nothing has to be shifted: "
            "position l is real where l < length.",
            wrong=_one_too_few,
            hint=3,
        ),
        Misconception(
            "shifted",
            "Each target was compared with the logits one place before it. That is how a loss is cut out of "
            "one row of bytes; here it is done already: `targets_WL[w, l]` is what `logits_WLV[w, l]` had to "
            "predict.",
            wrong=lambda *a: _shifted(1, *a),
            also=(lambda *a: _shifted(0, *a),),
            hint=1,
        ),
        Misconception(
            "overflows",
            "Right for small logits, infinite or NaN for large ones. `softmax` and then the logarithm: a "
            "probability below 1e-45 is 0 in fp32, and its logarithm infinite; an `exp` of one's own "
            "overflows from 89 on. `log_softmax` never leaves the logarithm.",
            detects=_overflows,
            hint=2,
        ),
        Misconception(
            "logits_as_they_are",
            "The logits were taken for logarithms of probabilities. They become that only in "
            "`log_softmax`, which sees to it that the probabilities sum to 1.",
            wrong=_logits_as_they_are,
            hint=2,
        ),
        Misconception(
            "summed",
            "These are the bits of all bytes together. Divide by how many real bytes there are.",
            wrong=_summed,
        ),
        Misconception(
            "full_windows_only",
            "Windows that are not full were left out. Their bytes are held-out text like all others.",
            wrong=_full_windows_only,
            hint=3,
        ),
        Misconception(
            "mean_probability",
            "The probabilities were averaged and the logarithm came last. The cost of a text is the sum of "
            "its bytes' costs: first the logarithm of each, then the mean.",
            wrong=_mean_probability,
        ),
    ),
    hints=(
        "How many bits do all held-out bytes cost together? And how many bytes are there?",
        "`logits.log_softmax(dim=-1)` gives logarithms to base e; `math.log(2)` nats are one bit.",
        "`torch.arange(L) < lengths_W[:, None]` is True at the real bytes; index the losses with it.",
    ),
    notice=(
        "The mean is over bytes, not over windows: a mean of the windows' means would give the bytes of a "
        "short window more weight."
    ),
)

"""Exercise 15.speculate: keep what of a draft the target might have said, and mend the first it did not."""

import numpy as np
import torch

from moe_lessons.exercises.serving.speculate_cases import draw
from moe_lessons.exercises.serving.speculating import (
    Tensor,
    checked,
    counted,
    drawn,
    missing,
    multiplied,
    other_row,
    reaching,
    redrawn_with_own,
    shifted,
    varied,
)
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def reference(p_HV: Tensor, q_GV: Tensor, drafted_G: Tensor, u_G: Tensor, u_last: float) -> Tensor:
    """Leviathan et al., arXiv 2211.17192, algorithm 1."""
    return checked(p_HV, q_GV, drafted_G, u_G, u_last)


def _draft_first(case: Case, got: Outputs, want: Outputs) -> str | None:
    drafted_G = np.asarray(case.args["drafted_G"]).tolist()
    tokens = [int(t) for t in got["tokens_H"] if t >= 0]
    other = [h for h, t in enumerate(tokens) if h >= len(drafted_G) or t != drafted_G[h]]
    if not tokens:
        return "no token comes out; there is always one that the target adds"
    if len(other) > 1:
        return f"tokens {other[0]} and {other[1]} are not the draft's; after the first that is not, it ends"
    return None


SPECULATE = Exercise(
    id="15.speculate",
    title="Keep what the target might have said",
    task=(
        "A draft model proposed `drafted_G`, token g drawn from its distribution `q_GV[g]`. The target has "
        "read them all at once: `p_HV[g]` is its distribution at the same place, and `p_HV[G]` the one "
        "behind the last. Keep token x = `drafted_G[g]` with probability min(1, p(x)/q(x)): that is, if "
        "`u_G[g] · q(x) <= p(x)`. At the first that is not kept, put a token drawn from the positive part of "
        "p - q, made to sum to 1, in its place, and stop. If all are kept, add one drawn from `p_HV[G]`. To "
        "draw, take the first token up to which the probabilities add up to `u_last` or more. Return G + 1 "
        "tokens, with -1 behind the end."
    ),
    entry="speculate",
    points=4,
    minutes=25,
    difficulty=4,
    outputs=(Output("tokens_H", "H", kind="int"),),
    draw=draw,
    reference=reference,
    properties=(Property("at most one token is not the draft's, and it ends there", _draft_first),),
    misconceptions=(
        Misconception(
            "target_probability_alone",
            "A token is kept with probability p(x). A draft that *is* the target would be rejected nearly "
            "always. What counts is p(x) over q(x): tokens that the draft likes too much are thinned out, "
            "all others stay.",
            wrong=varied(accept=lambda p, q, x, u: bool(u <= p[x])),
            hint=1,
        ),
        Misconception(
            "accepted_if_likelier",
            "A token is kept only if p(x) >= q(x), and `u_G` has no say. One that the draft likes a little "
            "more than the target then never comes out, though the target does say it at times.",
            wrong=varied(accept=lambda p, q, x, u: bool(p[x] >= q[x])),
            also=(varied(accept=lambda p, q, x, u: bool(p[x] > 0.5 * q[x])),),
            hint=1,
        ),
        Misconception(
            "ratio_upside_down",
            "The ratio is q(x)/p(x). That keeps what the draft likes *more* than the target does, which is "
            "just what there is too much of.",
            wrong=varied(accept=lambda p, q, x, u: bool(u * p[x] <= q[x])),
            hint=1,
        ),
        Misconception(
            "ratios_multiplied",
            "The ratios of all tokens so far were multiplied. Each is decided by its own p and q; what was "
            "before it is kept already.",
            wrong=multiplied,
            hint=1,
        ),
        Misconception(
            "kept_and_rejected_swapped",
            "Tokens are kept where they should be rejected, and the other way round. A small u keeps.",
            wrong=varied(accept=lambda p, q, x, u: bool(u * q[x] > p[x])),
            hint=1,
        ),
        Misconception(
            "accepted_if_best",
            "A token is kept only if it is the target's favourite. That is the rule of greedy decoding; here "
            "the target's own draws are to be imitated, and those are not always its favourites.",
            wrong=varied(accept=lambda p, q, x, u: x == int(p.argmax())),
            hint=1,
        ),
        Misconception(
            "redrawn_from_target",
            "After a rejection the token comes from p. What the draft likes has had its chance already: it "
            "would come out too often. Draw from what is *missing*, the positive part of p - q.",
            wrong=varied(residual=lambda p, q: p),
            hint=2,
        ),
        Misconception(
            "redrawn_from_draft",
            "After a rejection the token comes from the draft's q again. What it lacks, it will never say.",
            wrong=varied(residual=lambda p, q: q),
            hint=2,
        ),
        Misconception(
            "residual_of_magnitudes",
            "The residual is |p - q|. Where q is larger nothing is missing: those tokens have come out often "
            "enough. Only the positive part counts.",
            wrong=varied(residual=lambda p, q: (p - q).abs()),
            hint=2,
        ),
        Misconception(
            "residual_of_surplus",
            "The residual is the positive part of q - p: what the draft says too often. Missing is what the "
            "*target* says more often, p - q.",
            wrong=varied(residual=lambda p, q: (q - p).clamp_min(0)),
            hint=2,
        ),
        Misconception(
            "residual_not_normalised",
            "The residual does not sum to 1, and `u_last` was compared with its sums as they are: they end "
            "below 1, and what lies above that end falls to the last token or the first. Divide by the sum.",
            wrong=varied(normalised=False),
            also=(varied(redraw=reaching),),
            hint=2,
        ),
        Misconception(
            "most_likely_instead_of_drawn",
            "The added token is the likeliest one, and `u_last` has no say. That is no draw: all others "
            "would never come out.",
            wrong=varied(redraw=lambda row, u: int(row.argmax())),
            also=(varied(residual=lambda p, q: torch.eye(len(p))[(p - q).argmax()]),),
            hint=2,
        ),
        Misconception(
            "chance_used_twice",
            "The token is drawn with the chance that rejected the one before it, or with the draft's last. "
            "That one is known to be large, so the draw is not even any more. `u_last` is for drawing.",
            wrong=redrawn_with_own,
            also=(lambda p, q, d, u, u_last: checked(p, q, d, u, float(u[-1])),),
            hint=2,
        ),
        Misconception(
            "softmax_of_residual",
            "The residual went through a softmax. It is a table of probabilities that are missing, not of "
            "logits: divide it by its sum.",
            wrong=varied(residual=lambda p, q: missing(p, q).softmax(0)),
            hint=2,
        ),
        Misconception(
            "row_shifted",
            "A drafted token was compared with the distribution of the place behind it. `p_HV[g]` and "
            "`q_GV[g]` belong to token g.",
            wrong=lambda p, q, d, u, u_last: checked(
                torch.cat([p[1:], p[-1:]]), q, d, u, u_last, bonus=lambda last, _: last
            ),
            also=(shifted,),
            hint=3,
        ),
        Misconception(
            "one_token_off",
            "The drawn token is a neighbour of the right one: the sums were counted one too far, or one too "
            "short. It is the first token at which they *reach* `u_last`.",
            wrong=varied(redraw=lambda row, u: drawn(row, u, further=1)),
            also=(varied(redraw=lambda row, u: drawn(row, u, further=-1)),),
            hint=2,
        ),
        Misconception(
            "goes_on_after_rejection",
            "Tokens behind the first rejected one are looked at, too. They were drafted behind a token that "
            "is no longer there: what p and q say about them holds for another text.",
            wrong=varied(stop=False),
            also=(varied(stop=False, bonus=lambda p, q: None), varied(stop=False, replace=False)),
            hint=3,
        ),
        Misconception(
            "counts_all_kept",
            "The number kept counts *all* tokens that pass, those behind the first rejection as well. Only "
            "the run before it counts: a cumulative product of the passes has it.",
            wrong=counted,
            hint=3,
        ),
        Misconception(
            "rejected_stays",
            "The rejected token stands in the answer, in front of the one that replaces it.",
            wrong=varied(keep_rejected=True),
            also=(varied(keep_rejected=True, replace=False),),
            hint=3,
        ),
        Misconception(
            "not_replaced",
            "At a rejection it ends without a token of the target's. The check has been paid for: one token "
            "comes out of it in any case.",
            wrong=varied(replace=False),
            hint=3,
        ),
        Misconception(
            "bonus_after_rejection",
            "Behind the replacement comes another token. `p_HV` behind it was computed for the draft's "
            "token, not for the one that took its place.",
            wrong=varied(one_more=True),
            hint=3,
        ),
        Misconception(
            "no_bonus",
            "When all are kept nothing is added. The target has read the last one, too, and what comes "
            "behind it is in `p_HV[G]` already, for nothing.",
            wrong=varied(bonus=lambda p, q: None),
            hint=3,
        ),
        Misconception(
            "bonus_from_draft",
            "The token behind a draft that was kept whole comes from q. The draft has nothing to say there; "
            "draw from `p_HV[G]`.",
            wrong=varied(bonus=lambda p, q: q),
            also=(varied(bonus=missing),),
            hint=3,
        ),
        Misconception(
            "bonus_from_the_row_before",
            "The token behind a draft that was kept whole was drawn from the last drafted token's own "
            "distribution. Behind it is one more row: `p_HV[G]`.",
            wrong=lambda p, q, d, u, u_last: checked(torch.cat([p[:-1], p[-2:-1]]), q, d, u, u_last),
            hint=3,
        ),
        Misconception(
            "residual_of_another_place",
            "What is missing was taken from another place's distributions. It is p - q at the place of the "
            "rejected token.",
            wrong=other_row(lambda n, last: last),
            also=(
                other_row(lambda n, last: n + 1),
                other_row(lambda n, last: 0),
                other_row(lambda n, last: n + 1, plain=True),
            ),
            hint=3,
        ),
        Misconception(
            "zero_behind_the_end",
            "Behind the end stand zeros. 0 is a token; fill up with -1.",
            wrong=varied(behind=0),
            hint=3,
        ),
    ),
    hints=(
        "If p = q, what must happen to every drafted token? If q says 0.9 and p says 0.3, how often may the "
        "token stay?",
        "What the draft says too rarely is `(p - q).clamp_min(0)`; divide by its sum. `cumsum` and a "
        "comparison with `u_last` draw from it.",
        "A loop over g: keep and go on, or add the replacement and `break`. A loop's `else` runs if there "
        "was no break: there the bonus from `p_HV[-1]` belongs.",
    ),
    notice=(
        "The kept part has min(p, q) of the probability and the residual (p - q)+ the rest, which add up to "
        "p: the answer is the target's, however bad the draft."
    ),
)

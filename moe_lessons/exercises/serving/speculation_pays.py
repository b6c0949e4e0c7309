"""Exercise 15.speculation_pays: what a draft brings in tokens, and what it costs in experts read."""

from collections.abc import Callable
from typing import Any

from moe_lessons.exercises.serving.drafting import NAMES, Setting, draw
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property


def reference(*args: Any) -> float:
    """Tokens of a check, over how many times a plain step's bytes it reads."""
    s = Setting(*args)
    return s.tokens / s.paid


def _as(of: Callable[[Setting], float]) -> Callable[..., float]:
    return lambda *args: of(Setting(*args))


def _gamma_0(case: Case, got: Outputs, want: Outputs) -> str | None:
    speed = float(got["speedup"])
    if case.args["gamma"] != 0 or abs(speed - 1) < 1e-4:
        return None
    return f"without a draft nothing is gained or lost, and this says {speed:.3g}"


def _all_experts(case: Case, got: Outputs, want: Outputs) -> str | None:
    s = Setting(*(case.args[name] for name in NAMES))  # type: ignore[arg-type]
    speed = float(got["speedup"])
    if s.top_k != s.n_experts or abs(speed - s.tokens) < 1e-3:
        return None
    return f"with K = E a step reads the same for any number of tokens: {s.tokens:.3f}, not {speed:.3f}"


SPECULATION_PAYS = Exercise(
    id="15.speculation_pays",
    title="Does the draft pay?",
    task=(
        "`batch` users decode together. In each step a draft of `gamma` tokens for each user comes from "
        "somewhere, for nothing, and one check passes gamma + 1 tokens of each user. Each drafted token is "
        "kept with probability `acceptance`, independently, up to the first that is not; one more token "
        "comes out in any case. Time is bytes: a step reads `shared_bytes`, and `expert_bytes` for each "
        "*different* expert that its tokens touch. All tokens choose `top_k` of `n_experts` independently "
        "and evenly, so that n tokens touch `E (1 - (1 - K/E)^n)`. Return how many times as many tokens come "
        "out in the same time as without a draft."
    ),
    entry="speculation_speedup",
    points=3,
    minutes=15,
    difficulty=3,
    outputs=(Output("speedup"),),
    draw=draw,
    reference=reference,
    properties=(
        Property("without a draft the speed-up is 1", _gamma_0),
        Property("with K = E only tokens count", _all_experts),
    ),
    misconceptions=(
        Misconception(
            "all_accepted",
            "gamma + 1 tokens come out of each check, as if all were kept. The first that is rejected ends "
            "it.",
            wrong=_as(lambda s: (s.gamma + 1) / s.paid),
            hint=1,
        ),
        Misconception(
            "mean_accepted",
            "acceptance · gamma tokens of the draft are counted, wherever they stand. One that would be kept "
            "behind a rejected one is lost: token i needs all before it, too.",
            wrong=_as(lambda s: (1 + s.acceptance * s.gamma) / s.paid),
            also=(_as(lambda s: s.acceptance * (s.gamma + 1) / s.paid),),
            hint=1,
        ),
        Misconception(
            "own_token_forgotten",
            "Only the kept tokens are counted. One more comes out of every check: in place of the first "
            "rejected, or behind the last.",
            wrong=_as(lambda s: (s.tokens - 1) / s.paid),
            also=(_as(lambda s: s.acceptance * s.gamma / s.paid), _as(lambda s: s.gamma / s.paid)),
            hint=1,
        ),
        Misconception(
            "only_if_all_right",
            "The draft counts as a whole: all of it or nothing. The first few may be kept and the rest not.",
            wrong=_as(lambda s: (1 + s.gamma * s.acceptance**s.gamma) / s.paid),
            also=(_as(lambda s: (s.gamma + 1) * s.acceptance**s.gamma / s.paid),),
            hint=1,
        ),
        Misconception(
            "one_token_too_few",
            "The sum of the powers ends one too early or one too late. There are gamma + 1 terms, from "
            "acceptance^0 to acceptance^gamma.",
            wrong=_as(lambda s: (s.tokens - s.acceptance**s.gamma) / s.paid),
            also=(
                _as(lambda s: (s.tokens + s.acceptance ** (s.gamma + 1)) / s.paid),
                _as(lambda s: s.tokens * s.acceptance / s.paid),
            ),
            hint=2,
        ),
        Misconception(
            "whole_draft_weighted",
            "A draft that is kept whole counts with a factor 1 - acceptance too much, or not at all. There "
            "is no rejection after it: its chance is acceptance^gamma.",
            wrong=_as(lambda s: s.by_chance(1 - s.acceptance) / s.paid),
            also=(_as(lambda s: s.by_chance(0) / s.paid),),
            hint=1,
        ),
        Misconception(
            "two_steps",
            "A step without the draft was added to the check. The check is the step: it brings a token in "
            "any case.",
            wrong=_as(lambda s: s.tokens * s.read(s.batch) / (s.read(s.batch) + s.read(s.checked))),
            also=(_as(lambda s: s.tokens * s.read(s.batch) / (s.read(s.batch) + s.read(s.batch * s.gamma))),),
            hint=3,
        ),
        Misconception(
            "endless_draft",
            "This is the sum over an endless draft, 1 / (1 - acceptance). It ends after gamma tokens.",
            wrong=_as(lambda s: 1 / (1 - s.acceptance) / s.paid),
            also=(
                _as(lambda s: min(s.gamma + 1, 1 / (1 - s.acceptance)) / s.paid),
                _as(lambda s: (1 / (1 - s.acceptance) if s.acceptance < 1 else s.gamma + 1) / s.paid),
            ),
            hint=2,
        ),
        Misconception(
            "bytes_unchanged",
            "A check costs what a step costs. That is so in a dense model, which reads all its weights "
            "anyway. Here drafted tokens bring experts of their own.",
            wrong=_as(lambda s: s.tokens),
            hint=2,
        ),
        Misconception(
            "no_overlap",
            "Each token's K experts are counted as its own, up to all E. Tokens that choose the same expert "
            "read it once: coverage says how many are different.",
            wrong=_as(
                lambda s: (
                    s.tokens
                    * (s.shared_bytes + s.expert_bytes * min(s.n_experts, s.top_k * s.batch))
                    / (s.shared_bytes + s.expert_bytes * min(s.n_experts, s.top_k * s.checked))
                )
            ),
            also=(
                _as(
                    lambda s: (
                        s.tokens
                        * (s.shared_bytes + s.expert_bytes * s.top_k * s.batch)
                        / (s.shared_bytes + s.expert_bytes * s.top_k * s.checked)
                    )
                ),
            ),
            hint=2,
        ),
        Misconception(
            "chosen_one_by_one",
            "All choices were counted as independent draws of one expert. A token's K experts are different "
            "ones: a token misses an expert with probability 1 - K/E.",
            wrong=_as(lambda s: s.tokens * s.one_by_one(s.batch) / s.one_by_one(s.checked)),
            also=(_as(lambda s: s.tokens * s.read(s.batch) / s.one_by_one(s.checked)),),
            hint=2,
        ),
        Misconception(
            "users_apart",
            "Coverage was taken of one user's tokens and multiplied by the batch. Users share experts as "
            "well: all tokens of a step go into one coverage.",
            wrong=_as(
                lambda s: (
                    s.tokens
                    * (s.shared_bytes + s.expert_bytes * s.batch * s.experts(1))
                    / (s.shared_bytes + s.expert_bytes * s.batch * s.experts(s.gamma + 1))
                )
            ),
            also=(
                _as(
                    lambda s: (
                        s.tokens
                        * s.read(s.batch)
                        / (s.shared_bytes + s.expert_bytes * s.batch * s.experts(s.gamma + 1))
                    )
                ),
            ),
            hint=2,
        ),
        Misconception(
            "one_user",
            "The batch is left out: these are the bytes for one user. Others read experts, too, and with "
            "them the draft gets cheaper.",
            wrong=_as(lambda s: s.tokens * s.read(1) / s.read(s.gamma + 1)),
            hint=2,
        ),
        Misconception(
            "every_expert",
            "A check is charged with all E experts. It reads what its tokens touch; for a small batch that "
            "is far less.",
            wrong=_as(lambda s: s.tokens * s.read(s.batch) / (s.shared_bytes + s.expert_bytes * s.n_experts)),
            also=(
                _as(
                    lambda s: (
                        s.tokens
                        * (s.shared_bytes + s.expert_bytes * s.top_k)
                        / (s.shared_bytes + s.expert_bytes * s.n_experts)
                    )
                ),
            ),
            hint=2,
        ),
        Misconception(
            "gamma_not_gamma_plus_1",
            "The check is charged with gamma tokens for each user. It passes one more: the last of the text, "
            "behind which the draft begins.",
            wrong=_as(lambda s: s.tokens * s.read(s.batch) / s.read(s.batch * max(s.gamma, 1))),
            also=(_as(lambda s: s.tokens * s.read(s.batch) / s.read(s.batch * s.gamma)),),
            hint=3,
        ),
        Misconception(
            "added_not_multiplied",
            "The tokens of a check are batch · gamma + 1, or batch + gamma. Every user has a draft and a "
            "last token: batch · (gamma + 1).",
            wrong=_as(lambda s: s.tokens * s.read(s.batch) / s.read(s.batch * s.gamma + 1)),
            also=(
                _as(lambda s: s.tokens * s.read(s.batch) / s.read(s.batch + s.gamma)),
                _as(lambda s: s.tokens * s.read(s.batch) / s.read(s.batch + s.gamma + 1)),
            ),
            hint=3,
        ),
        Misconception(
            "kept_tokens_only",
            "The check is charged with the tokens that come out of it. Rejected ones have been read as well: "
            "it is known only afterwards which they are.",
            wrong=_as(lambda s: s.tokens * s.read(s.batch) / s.read(s.batch * s.tokens)),
            hint=3,
        ),
        Misconception(
            "shared_forgotten",
            "Only experts are counted. Attention and all else that every token passes is read once in a "
            "step, too: the larger it is, the better drafting pays.",
            wrong=_as(lambda s: s.tokens * s.experts(s.batch) / s.experts(s.checked)),
            hint=3,
        ),
        Misconception(
            "shared_for_each_token",
            "What all tokens share was charged to each token anew. It is read once in a step.",
            wrong=_as(
                lambda s: (
                    s.tokens
                    * (s.batch * s.shared_bytes + s.expert_bytes * s.experts(s.batch))
                    / (s.checked * s.shared_bytes + s.expert_bytes * s.experts(s.checked))
                )
            ),
            hint=3,
        ),
        Misconception(
            "cost_not_speed",
            "This is one over the speed-up: bytes for each token, against those without a draft.",
            wrong=_as(lambda s: s.paid / s.tokens),
            hint=3,
        ),
        Misconception(
            "bytes_alone",
            "This is how many times the bytes of a step a check reads. Tokens come out of it in return.",
            wrong=_as(lambda s: s.paid),
            also=(_as(lambda s: 1 / s.paid),),
            hint=3,
        ),
        Misconception(
            "gain_not_factor",
            "1 was taken off: this is the gain. Asked is the factor, 1 where nothing is gained.",
            wrong=_as(lambda s: s.tokens / s.paid - 1),
            hint=3,
        ),
    ),
    hints=(
        "How many tokens come out if the first is rejected? With which probability does the second drafted "
        "token count at all?",
        "1 + a + a² + ... for the tokens. How many tokens choose experts in one check, over all users? Put "
        "that into the coverage.",
        "`sum(a**i for i in range(gamma + 1)) * read(batch) / read(batch * (gamma + 1))`; what is `read(n)`?",
    ),
    notice=(
        "Nothing in it is about quality or speed of hardware: bytes alone say at which batch drafting pays, "
        "for a dense model as well (put K = E)."
    ),
)

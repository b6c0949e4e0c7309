"""A mistake of 17.design: the width of all the experts of a token, returned as that of one."""

from moe_lessons.exercises.capstone.design_judged import OUTPUTS, right, shape_of
from moe_lessons.exercises.spec import Case, Misconception, Outputs


def _all_together(case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether a design would do if each of its `top_k` experts had its share of `d_expert`."""
    d, e, k, f, bits, layout = shape_of(got)
    if k < 1 or f % k:
        return False
    return right(case, dict(zip(OUTPUTS, (d, e, k, f // k, bits, layout), strict=True)), want)


ALL_K_TOGETHER = Misconception(
    "all_k_together",
    "`d_expert` is the width of all `top_k` experts of a token together. It is that of *one* expert: divided "
    "by `top_k` these designs pass.",
    detects=_all_together,
    hint=2,
)

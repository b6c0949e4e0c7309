"""Exercise 04.diagnose: what is the matter with this run, from its load history alone?"""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.collapse.diagnose_draws import KINDS, draw_history
from moe_lessons.exercises.collapse.diagnose_rules import (
    any_fall,
    dead_before_collapsing,
    dead_first,
    ends,
    experts_used,
    fall_of_rows,
    last_row,
    max_share,
    mean_of_rows,
    nan,
    no_exp,
    one_in_each,
    one_uneven_row,
    oscillating_first,
    other_number,
    quiet,
    reference,
    rested,
    rows_everywhere,
    whole,
    whole_collapsed,
    whole_oscillates,
)
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Every kind of history, in an order that tells nothing."""
    cases = []
    for i, place in enumerate(rng.permutation(len(KINDS))):
        kind = list(KINDS)[place]
        n_experts = int(rng.choice([8, 10, 12]))
        shares_NE = draw_history(kind, rng, n_experts)
        cases.append(Case(f"history {i + 1}, E={n_experts}", {"shares_NE": shares_NE}))
    return cases


DIAGNOSE = Exercise(
    id="04.diagnose",
    title="What is the matter with this run?",
    task=(
        "`shares_NE` is a load history: N rows, one per logging interval, each an interval's load shares; N "
        "is a multiple of 4. Return the **first** of these names that applies. n is the exponential of the "
        "entropy, and a quarter's shares are the mean of its rows.\n\n"
        "1. `collapsed`: the last quarter's shares have n < E/2.\n"
        "2. `oscillating`: n of each *row*, averaged over the rows of the last quarter, is below E/2.\n"
        "3. `collapsing`: n of the quarters' shares falls from each quarter to the next, and by 1 or more "
        "from the first to the last.\n"
        "4. `dead expert`: some expert has share 0 in every row of the last quarter.\n"
        "5. `healthy`: none of these."
    ),
    entry="diagnose",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(Output("diagnosis", kind="text"),),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "last_row",
            "Only the last row is looked at. One batch of a special kind, or an expert that rests for one "
            "interval, then looks like a catastrophe. Look at the whole last quarter.",
            wrong=last_row,
            hint=2,
        ),
        Misconception(
            "whole_log",
            "The whole history is averaged. A run that collapsed late then looks fine, because its good "
            "start is in the mean. What counts now is the last quarter.",
            wrong=whole,
            hint=2,
        ),
        Misconception(
            "whole_collapsed",
            "Whether the run has collapsed is read from the whole history. Its good start is in that mean, "
            "or a bad one that it has long overcome. Only the last quarter counts for this question.",
            wrong=whole_collapsed,
            hint=2,
        ),
        Misconception(
            "whole_oscillates",
            "Whether the run oscillates is read from the rows of the whole history. A run may have calmed "
            "down, or begun to take turns late: only the rows of the last quarter count.",
            wrong=whole_oscillates,
            hint=2,
        ),
        Misconception(
            "one_uneven_row",
            "One uneven row in the last quarter is called oscillating. A single bad batch is no illness: n "
            "of the rows is averaged, and the mean compared with E/2.",
            wrong=one_uneven_row,
            hint=2,
        ),
        Misconception(
            "one_in_each",
            "A slow collapse is called something else: a fall of 1 is asked of every quarter. From each "
            "quarter to the next any fall will do; 1 or more is asked from the first to the last.",
            wrong=one_in_each,
            hint=3,
        ),
        Misconception(
            "max_share",
            "A collapse is read off the fullest expert's share. When two of eight experts share everything, "
            "neither has more than half, and the alarm is silent. Count effective experts.",
            wrong=max_share,
        ),
        Misconception(
            "quiet_is_dead",
            "An expert with a small share is called dead. It gets tokens, so it gets gradients. Dead means "
            "0 in every row of the last quarter.",
            wrong=quiet,
            hint=3,
        ),
        Misconception(
            "rested_is_dead",
            "An expert that had no row in one interval is called dead, though it is used in the intervals "
            "around it. All rows of the last quarter must be 0.",
            wrong=rested,
            hint=3,
        ),
        Misconception(
            "mean_of_rows",
            "The oscillating run is called collapsed. In each row one expert has nearly everything, but "
            "every expert has its turn: averaged over the quarter the load is even. Average the shares "
            "first and count effective experts then.",
            wrong=mean_of_rows,
            hint=2,
        ),
        Misconception(
            "fall_of_rows",
            "For `collapsing` n was taken of each row and then averaged. Where experts take turns at "
            "resting, each row has fewer and fewer while the quarter as a whole uses all. Average a "
            "quarter's rows first, then count.",
            wrong=fall_of_rows,
            hint=2,
        ),
        Misconception(
            "rows_everywhere",
            "n was taken of each row and then averaged, in every question. Only `oscillating` asks for that. "
            "The other questions are about a quarter's shares: average its rows first, then count.",
            wrong=rows_everywhere,
            hint=2,
        ),
        Misconception(
            "only_the_ends",
            "A run that fell once, early, and has been steady since is called collapsing. First and last "
            "quarter alone cannot tell the two apart: look at the steps between.",
            wrong=ends,
            hint=3,
        ),
        Misconception(
            "any_fall",
            "A drift of a fraction of an expert is called collapsing. Loads are noisy, and a small fall in "
            "each quarter is no alarm; the task asks for 1 or more in all.",
            wrong=any_fall,
            hint=3,
        ),
        Misconception(
            "dead_first",
            "Collapsed runs with idle experts are called `dead expert`. It is true of them, but the worse "
            "news comes first in the list: reviving experts does not mend a collapse.",
            wrong=dead_first,
            hint=1,
        ),
        Misconception(
            "dead_before_collapsing",
            "A run that is on its way down is called `dead expert`. It has dead experts, and more every "
            "quarter: that is what a collapse looks like on its way, and it comes first in the list.",
            wrong=dead_before_collapsing,
            hint=1,
        ),
        Misconception(
            "oscillating_first",
            "Collapsed runs are called `oscillating`. In a collapsed run each row is uneven too; what "
            "tells the two apart is the average, so that question comes first in the list.",
            wrong=oscillating_first,
            hint=1,
        ),
        Misconception(
            "experts_used",
            "E was counted from the experts that have ever been used. Those that never were are the worst of "
            "all, and they are E's too: E is the number of columns.",
            wrong=experts_used,
            hint=2,
        ),
        Misconception(
            "other_number",
            "The effective experts are counted as E / (1 + CV²), or 1 / sum of s². The task asks for the "
            "other number, exp(H). With one expert far ahead the two lie on different sides of E/2.",
            wrong=other_number,
            hint=2,
        ),
        Misconception(
            "nan",
            "Where a share is 0, n is NaN: 0 times ln 0. A comparison with NaN is always False, so no name "
            "that needs n ever applies to such a run. Let an unused expert add 0, as in "
            "`04.effective_experts`.",
            wrong=nan,
            hint=2,
        ),
        Misconception(
            "no_exp",
            "Every history is called collapsed. Most often the exponential is missing: the entropy of eight "
            "even shares is 2.08, which is below E/2; its exponential is 8. (Or the quarters were cut from "
            "the experts: they are parts of the rows.)",
            wrong=no_exp,
            hint=2,
        ),
    ),
    crashes=(
        Crash(
            "pieces_of_four",
            "The names on the left are not as many as the pieces. `split(4)` cuts pieces of 4 *rows* each, "
            "and a tensor itself gives its rows one by one. Four equal pieces are `chunk(4)`.",
            pattern=r"(not enough|too many) values to unpack",
            hint=2,
        ),
    ),
    hints=(
        "Four questions with yes or no, asked in the order of the list. Which numbers does each need?",
        "`quarters = shares_NE.chunk(4)`, and n as in `04.effective_experts`: the exponential of a sum of "
        "`torch.special.entr`. Two different things: n of the mean of the rows, and the mean of n over the "
        "rows.",
        "With `a, b, c, d = (n(q.mean(dim=0)) for q in quarters)` a fall is `a > b > c > d`. Dead: "
        "`(last == 0).all(dim=0).any()`.",
    ),
    notice=(
        "n of the mean and the mean of n come from the same rows: only the order of averaging tells "
        "experts that are never used from experts that take turns."
    ),
)

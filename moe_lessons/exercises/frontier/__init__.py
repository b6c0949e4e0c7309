"""Lesson 16: what else can be conditional, and what can you believe?"""

from moe_lessons.exercises.frontier.causal_depth import CAUSAL_DEPTH
from moe_lessons.exercises.frontier.null_experts import NULL_EXPERTS
from moe_lessons.exercises.frontier.product_keys import PRODUCT_KEYS
from moe_lessons.exercises.frontier.selective_scan import SELECTIVE_SCAN
from moe_lessons.exercises.frontier.two_numbers import TWO_NUMBERS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="16_frontier",
    title="What else can be conditional, and what can you believe?",
    question="?",
    goals=(),
    minutes=130,
    prerequisites=(),
    exercises=(CAUSAL_DEPTH, NULL_EXPERTS, PRODUCT_KEYS, SELECTIVE_SCAN, TWO_NUMBERS),
)

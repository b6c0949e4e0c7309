"""Lesson 07: capacity."""

from moe_lessons.exercises.capacity.assignment import ASSIGNMENT
from moe_lessons.exercises.capacity.buffers import DISPATCH_COMBINE
from moe_lessons.exercises.capacity.claims import CLAIMS
from moe_lessons.exercises.capacity.drop_rate import DROP_RATE
from moe_lessons.exercises.capacity.places import PLACES
from moe_lessons.exercises.capacity.puzzles import PUZZLES
from moe_lessons.exercises.capacity.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.capacity.queues import POSITIONS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="07_capacity",
    title="Capacity",
    question="What happens when an expert is full?",
    goals=(
        "Give an expert its number of places, and say who counts them how.",
        "Compute positions, buffers and the combined output without a loop over tokens.",
        "Predict how many rows chance alone drops, and what a larger factor costs.",
        "Say who is turned away under each priority, and which of them look into the future.",
        "Compare first come, first served with the best assignment, and drops with no drops.",
    ),
    minutes=150,
    prerequisites=("lesson 02", "lesson 05 for what balances a router"),
    exercises=(PLACES, POSITIONS, DROP_RATE, DISPATCH_COMBINE, ASSIGNMENT),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Lepikhin et al., [GShard](https://arxiv.org/abs/2006.16668): capacity per group, algorithm 1.",
        "Fedus, Zoph and Shazeer, [Switch Transformers](https://arxiv.org/abs/2101.03961): section 2.2, "
        "table 1, and in the appendix a fallback that did not help.",
        "Riquelme et al., [V-MoE](https://arxiv.org/abs/2106.05974): batch prioritized routing.",
        "Lewis et al., [BASE Layers](https://arxiv.org/abs/2103.16716): routing as an assignment problem.",
        "Gale et al., [MegaBlocks](https://arxiv.org/abs/2211.15841): dropless layers by block-sparse "
        "products.",
        "Xue et al., [OpenMoE](https://arxiv.org/abs/2402.01739): drop-towards-the-end.",
    ),
)

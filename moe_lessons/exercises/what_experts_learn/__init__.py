"""Lesson 12: what experts learn."""

from moe_lessons.exercises.spec import Lesson
from moe_lessons.exercises.what_experts_learn.beyond_the_token import BEYOND_THE_TOKEN
from moe_lessons.exercises.what_experts_learn.claims import CLAIMS
from moe_lessons.exercises.what_experts_learn.coactivation import COACTIVATION
from moe_lessons.exercises.what_experts_learn.locality import LOCALITY
from moe_lessons.exercises.what_experts_learn.puzzles import PUZZLES
from moe_lessons.exercises.what_experts_learn.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.what_experts_learn.saturation import SATURATION
from moe_lessons.exercises.what_experts_learn.what_is_it import WHAT_IS_IT

LESSON = Lesson(
    id="12_what_experts_learn",
    title="What experts learn",
    question="My experts specialise. What would I have to show before I may say so?",
    goals=(
        "measure locality, saturation, co-activation and specialisation, each beside the chance that belongs "
        "to it;",
        "take out what the untrained router and the token alone give away;",
        "test by intervention whether the routing matters, and for what;",
        "notice where a selection makes the pattern that a report then finds;",
        "read a figure of specialised experts critically, your own included.",
    ),
    minutes=150,
    prerequisites=(
        "[lesson 10](10_mini_transformer.ipynb): mutual information, three kinds of text",
        "[lesson 04](04_collapse.ipynb): load",
    ),
    exercises=(LOCALITY, SATURATION, COACTIVATION, BEYOND_THE_TOKEN, WHAT_IS_IT),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(),
)

"""Lesson 17: design under a budget, and find the errors."""

from moe_lessons.exercises.capstone.audit import AUDIT
from moe_lessons.exercises.capstone.defend import DEFEND
from moe_lessons.exercises.capstone.design import DESIGN
from moe_lessons.exercises.capstone.puzzles import PUZZLES
from moe_lessons.exercises.capstone.serve import SERVE
from moe_lessons.exercises.capstone_errors.find_errors import FIND_ERRORS
from moe_lessons.exercises.capstone_errors.questions import CLAIMS, PREDICTIONS, QUIZZES
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="17_capstone",
    title="Design one, defend it, and find the errors",
    question="Here is a budget. What do you build, and can you defend it against somebody who has read the "
    "internet?",
    goals=(
        "turn a budget into a design, by a model whose every line you can question",
        "say which resource binds, and what twice as much of it would buy",
        "tell what a law says from where it says nothing",
        "check a page of numbers, one formula each",
        "give a verdict on a sentence: right, wrong, depends or unknown",
    ),
    minutes=180,
    prerequisites=(
        "lessons 03 and 11",
        "all others for the sentences: each is settled in the lesson that the check names",
    ),
    exercises=(SERVE, DESIGN, DEFEND, AUDIT, FIND_ERRORS),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Hoffmann et al. 2022, *Training Compute-Optimal Large Language Models*, [arXiv "
        "2203.15556](https://arxiv.org/abs/2203.15556): the law of dense models (eq. 10)",
        "Tian et al. 2025, *Towards Greater Leverage*, [arXiv 2507.17702](https://arxiv.org/abs/2507.17702): "
        "what experts are worth (eq. 13), and where it was measured (section 4)",
        "Muennighoff et al. 2023, *Scaling Data-Constrained Language Models*, [arXiv "
        "2305.16264](https://arxiv.org/abs/2305.16264): repeated text (eq. 5)",
        "the five explainers that the course grew from, in our words",
    ),
)

"""Lesson 00: start here."""

from moe_lessons.exercises.spec import Lesson
from moe_lessons.exercises.start_here.questions import CLAIMS, PREDICTIONS, QUIZZES
from moe_lessons.exercises.start_here.top2_mix import TOP2_MIX

LESSON = Lesson(
    id="00_start_here",
    title="Start here",
    question="What is a Mixture-of-Experts layer, and how does this course work?",
    goals=(
        "say what your machine can run, and where your progress is kept;",
        "read a Mixture-of-Experts layer in a dozen or so lines of PyTorch, and a routing strip;",
        "tell whether you know enough to go on, and what to read first if not;",
        "answer an exercise, read its feedback, take a hint, pass.",
    ),
    minutes=30,
    prerequisites=("some Python", "having seen PyTorch once"),
    exercises=(TOP2_MIX,),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    claims=CLAIMS,
    sources=(
        "Shazeer et al., *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*, "
        "[arXiv 1701.06538](https://arxiv.org/abs/1701.06538): the layer of this lesson is its equation 1.",
        "Zhang, Lipton, Li and Smola, [Dive into Deep Learning](https://d2l.ai): a free book that covers "
        "everything in the five-minute check.",
        "The sentence comes from the Python language reference, which is part of Python itself "
        "(`pydoc_data.topics`).",
    ),
)

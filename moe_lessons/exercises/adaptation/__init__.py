"""Lesson 13: what to do with a model after its training."""

from moe_lessons.exercises.adaptation.merge import MERGE
from moe_lessons.exercises.adaptation.prune import PRUNE
from moe_lessons.exercises.adaptation.replay import REPLAY
from moe_lessons.exercises.adaptation.saliency import SALIENCY
from moe_lessons.exercises.adaptation.upcycle import UPCYCLE
from moe_lessons.exercises.adaptation.what_trains import WHAT_TRAINS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="13_adaptation",
    title="After the training",
    question="I have a trained model, dense or sparse. How do I make it the one that I need, without "
    "breaking it?",
    goals=("x",),
    minutes=150,
    prerequisites=(),
    exercises=(WHAT_TRAINS, UPCYCLE, SALIENCY, PRUNE, MERGE, REPLAY),
)

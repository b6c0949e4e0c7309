"""Lesson 01: the router."""

from moe_lessons.exercises.router.router_logits import ROUTER_LOGITS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="01_router",
    title="The router",
    question="How does a token choose its experts?",
    goals=("Write the router.",),
    minutes=60,
    prerequisites=("lesson 00",),
    exercises=(ROUTER_LOGITS,),
)

"""Lesson 06: the routing zoo."""

from moe_lessons.exercises.routing_zoo.bias_step import BIAS_STEP
from moe_lessons.exercises.routing_zoo.claims import CLAIMS
from moe_lessons.exercises.routing_zoo.expert_choice import EXPERT_CHOICE
from moe_lessons.exercises.routing_zoo.group_limited import GROUP_LIMITED
from moe_lessons.exercises.routing_zoo.leaks_future import LEAKS_FUTURE
from moe_lessons.exercises.routing_zoo.noisy_topk import NOISY_TOPK
from moe_lessons.exercises.routing_zoo.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.routing_zoo.sinkhorn import SINKHORN
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="06_routing_zoo",
    title="The routing zoo",
    question="How can experts be kept in use without a loss for it, and what does each way cost?",
    goals=(
        "steer who is chosen by a bias, and say why it must see the past only and never the weight",
        "write a causality test, and tell with it which routers a language model can use",
        "write noisy top-k, expert choice, Sinkhorn and group-limited routing, each in a few lines",
        "say for each of ten routers what it guarantees and what it costs, from measurements with error bars",
    ),
    minutes=120,
    prerequisites=("[lesson 05](05_load_loss.ipynb)", "[lesson 01](01_router.ipynb): sigmoid gates"),
    exercises=(BIAS_STEP, NOISY_TOPK, EXPERT_CHOICE, LEAKS_FUTURE, SINKHORN, GROUP_LIMITED),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    claims=CLAIMS,
    sources=(),
)

"""Lesson 06: the routing zoo."""

from moe_lessons.exercises.routing_zoo.bias_step import BIAS_STEP
from moe_lessons.exercises.routing_zoo.claims import CLAIMS
from moe_lessons.exercises.routing_zoo.expert_choice import EXPERT_CHOICE
from moe_lessons.exercises.routing_zoo.group_limited import GROUP_LIMITED
from moe_lessons.exercises.routing_zoo.leaks_future import LEAKS_FUTURE
from moe_lessons.exercises.routing_zoo.noisy_topk import NOISY_TOPK
from moe_lessons.exercises.routing_zoo.puzzles import PUZZLES
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
    minutes=150,
    prerequisites=("[lesson 05](05_load_loss.ipynb)", "[lesson 01](01_router.ipynb): sigmoid gates"),
    exercises=(BIAS_STEP, NOISY_TOPK, EXPERT_CHOICE, LEAKS_FUTURE, SINKHORN, GROUP_LIMITED),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Wang et al. 2024, *Auxiliary-Loss-Free Load Balancing*, [arXiv "
        "2408.15664](https://arxiv.org/abs/2408.15664): the bias and its rule (algorithm 1, eq. 3), what "
        "expert choice leaks (section 5.2)",
        "DeepSeek-AI 2024, *DeepSeek-V3*, [arXiv 2412.19437](https://arxiv.org/abs/2412.19437): bias and "
        "groups (section 2.1.2), batch against sequence (section 4.5.3)",
        "Zhou et al. 2022, *Mixture-of-Experts with Expert Choice Routing*, [arXiv "
        "2202.09368](https://arxiv.org/abs/2202.09368): section 3, and section 6 for the limits",
        "Shazeer et al. 2017, [arXiv 1701.06538](https://arxiv.org/abs/1701.06538): noisy top-k (eq. 3-5)",
        "Lewis et al. 2021, *BASE Layers*, [arXiv 2103.16716](https://arxiv.org/abs/2103.16716): routing as "
        "assignment",
        "Clark et al. 2022, *Unified Scaling Laws for Routed Language Models*, [arXiv "
        "2202.01169](https://arxiv.org/abs/2202.01169): Sinkhorn routing among others",
        "Roller et al. 2021, *Hash Layers*, [arXiv 2106.04426](https://arxiv.org/abs/2106.04426)",
        "Puigcerver et al. 2023, *From Sparse to Soft Mixtures of Experts*, [arXiv "
        "2308.00951](https://arxiv.org/abs/2308.00951)",
    ),
)

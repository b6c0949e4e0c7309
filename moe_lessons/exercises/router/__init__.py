"""Lesson 01: the router."""

from moe_lessons.exercises.router.claims import CLAIMS
from moe_lessons.exercises.router.gate_family import GATE_FAMILY
from moe_lessons.exercises.router.puzzles import PUZZLES
from moe_lessons.exercises.router.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.router.router_logits import ROUTER_LOGITS
from moe_lessons.exercises.router.sigmoid_gates import SIGMOID_GATES
from moe_lessons.exercises.router.topk_gates import TOPK_GATES
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="01_router",
    title="The router",
    question="How does a token choose its experts?",
    goals=(
        "write a router and its gates for a whole batch, in a few lines that hold up in production",
        "say what softmax before or after the top-k changes, and what it does not",
        "read from a model card, or from the numbers alone, which of six gates a model uses",
        "say what a gate's weight means and what it does not",
    ),
    minutes=105,
    prerequisites=("[lesson 00](00_start_here.ipynb)", "softmax and top-k"),
    exercises=(ROUTER_LOGITS, TOPK_GATES, SIGMOID_GATES, GATE_FAMILY),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Shazeer et al. 2017, *Outrageously Large Neural Networks*, [arXiv "
        "1701.06538](https://arxiv.org/abs/1701.06538): the gate as a sum over chosen experts (eq. 1-5)",
        "Fedus et al. 2021, *Switch Transformers*, [arXiv 2101.03961](https://arxiv.org/abs/2101.03961): K "
        "= 1, the probability as weight (eq. 1-2), fp32 routers (table 2)",
        "Zoph et al. 2022, *ST-MoE*, [arXiv 2202.08906](https://arxiv.org/abs/2202.08906): rounding in "
        "routers (footnote 7)",
        "Jiang et al. 2024, *Mixtral of Experts*, [arXiv 2401.04088](https://arxiv.org/abs/2401.04088): "
        "top-k, then softmax (section 2.1)",
        "DeepSeek-AI 2024, *DeepSeek-V3*, [arXiv 2412.19437](https://arxiv.org/abs/2412.19437): sigmoid "
        "scores, bias for the choice only (eq. 12-16)",
        "Roller et al. 2021, *Hash Layers*, [arXiv 2106.04426](https://arxiv.org/abs/2106.04426): routing "
        "by token id",
    ),
)

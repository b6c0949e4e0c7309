"""Lesson 04: collapse."""

from moe_lessons.exercises.collapse.claims import CLAIMS
from moe_lessons.exercises.collapse.diagnose import DIAGNOSE
from moe_lessons.exercises.collapse.effective_experts import EFFECTIVE_EXPERTS
from moe_lessons.exercises.collapse.imbalance import IMBALANCE
from moe_lessons.exercises.collapse.load_shares import LOAD_SHARES
from moe_lessons.exercises.collapse.puzzles import PUZZLES
from moe_lessons.exercises.collapse.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.collapse.revive import REVIVE
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="04_collapse",
    title="Collapse",
    question="What goes wrong by itself?",
    goals=(
        "measure how evenly experts are used, and say which of two *effective numbers* you mean",
        "say when a router collapses, when it does not, and what feeds it",
        "read a load history and name what is the matter",
        "say what becomes of a starved expert under your optimizer, and bring it back",
    ),
    minutes=125,
    prerequisites=("[lesson 01](01_router.ipynb)", "[lesson 02](02_moe_layer.ipynb)"),
    exercises=(LOAD_SHARES, EFFECTIVE_EXPERTS, IMBALANCE, DIAGNOSE, REVIVE),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Shazeer et al. 2017, *Outrageously Large Neural Networks*, [arXiv "
        "1701.06538](https://arxiv.org/abs/1701.06538): *self-reinforcing* imbalance (section 4), and what "
        "it cost them (tables 6 and 7)",
        "Muennighoff et al. 2024, *OLMoE*, [arXiv 2409.02060](https://arxiv.org/abs/2409.02060): a model "
        "without a balancing loss, over time (figure 10); fine-tuning without it (table 7)",
        "Zoph et al. 2022, *ST-MoE*, [arXiv 2202.08906](https://arxiv.org/abs/2202.08906): fine-tuning with "
        "and without (table 5)",
        "Wang et al. 2024, *Auxiliary-Loss-Free Load Balancing*, [arXiv "
        "2408.15664](https://arxiv.org/abs/2408.15664): MaxVio (section 4.1)",
        "Roller et al. 2021, *Hash Layers*, [arXiv 2106.04426](https://arxiv.org/abs/2106.04426): routing "
        "that cannot collapse",
        "Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*, [arXiv "
        "1711.05101](https://arxiv.org/abs/1711.05101): AdamW (algorithm 2)",
        "Hill 1973, *Diversity and Evenness*, Ecology 54: both effective numbers",
    ),
)

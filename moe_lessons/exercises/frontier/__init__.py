"""Lesson 16: what else can be conditional, and what can you believe?"""

from moe_lessons.exercises.frontier.causal_depth import CAUSAL_DEPTH
from moe_lessons.exercises.frontier.claims import CLAIMS
from moe_lessons.exercises.frontier.null_experts import NULL_EXPERTS
from moe_lessons.exercises.frontier.product_keys import PRODUCT_KEYS
from moe_lessons.exercises.frontier.puzzles import PUZZLES
from moe_lessons.exercises.frontier.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.frontier.selective_scan import SELECTIVE_SCAN
from moe_lessons.exercises.frontier.two_numbers import TWO_NUMBERS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="16_frontier",
    title="What else can be conditional, and what can you believe?",
    question="Which other parts of a model can be chosen for each token, and what follows from what is said "
    "about models that nobody may look into?",
    goals=(
        "catch a router that reads the future with fair coins, and mend it",
        "hold the mean number of working experts by a bias, and choose a fair comparison",
        "find the best of a million keys exactly, for two thousand products",
        "write a state that forgets as a loop and as a matrix, and say what it cannot hold",
        "say what two rounded numbers imply, and tell evidence from repetition",
    ),
    minutes=160,
    prerequisites=(
        "lessons 03 and 06",
        "[lesson 10](10_mini_transformer.ipynb) for training a language model",
    ),
    exercises=(CAUSAL_DEPTH, NULL_EXPERTS, PRODUCT_KEYS, SELECTIVE_SCAN, TWO_NUMBERS),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Raposo et al. 2024, *Mixture-of-Depths*, [arXiv 2404.02258](https://arxiv.org/abs/2404.02258): the "
        "block that a share of the positions passes (section 3), and what to do when text is generated",
        "Jin et al. 2024, *MoE++*, [arXiv 2410.07348](https://arxiv.org/abs/2410.07348), and Meituan 2025, "
        "*LongCat-Flash*, [arXiv 2509.01322](https://arxiv.org/abs/2509.01322): experts that do nothing",
        "Lample et al. 2019, *Large Memory Layers with Product Keys*, [arXiv "
        "1907.05242](https://arxiv.org/abs/1907.05242), and He 2024, *Mixture of A Million Experts*, [arXiv "
        "2407.04153](https://arxiv.org/abs/2407.04153)",
        "Cheng et al. 2026, *Conditional Memory via Scalable Lookup*, [arXiv "
        "2601.07372](https://arxiv.org/abs/2601.07372): Engram",
        "Dao and Gu 2024, *Transformers are SSMs*, [arXiv 2405.21060](https://arxiv.org/abs/2405.21060): "
        "the matrix form of a state space",
        "Lieber et al. 2024, *Jamba*, [arXiv 2403.19887](https://arxiv.org/abs/2403.19887): states, "
        "attention and experts in one model",
        "xAI 2024, [*Open Release of Grok-1*](https://x.ai/blog/grok-os)",
    ),
)

"""Lesson 11: how many experts, and how small?"""

from moe_lessons.exercises.fine_grained.claims import CLAIMS
from moe_lessons.exercises.fine_grained.compute_optimal import COMPUTE_OPTIMAL
from moe_lessons.exercises.fine_grained.cut_costs import CUT_COSTS
from moe_lessons.exercises.fine_grained.hierarchical import HIERARCHICAL
from moe_lessons.exercises.fine_grained.latent_moe import LATENT_MOE
from moe_lessons.exercises.fine_grained.leverage import LEVERAGE
from moe_lessons.exercises.fine_grained.puzzles import PUZZLES
from moe_lessons.exercises.fine_grained.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.fine_grained.split_expert import SPLIT_EXPERT
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="11_fine_grained",
    title="How many experts, and how small?",
    question="Should I cut my experts into smaller ones, and keep one that everybody sees?",
    goals=(
        "cut a MoE layer without changing what it computes, and say what the cut costs",
        "tell a result about granularity from one about initial scale or learning rate",
        "say for which data a smaller expert, a shared one, or a latent pays",
        "route in two levels, and say what the greedy choice loses",
        "read a scaling law critically: reproduce its table, find what it leaves open, stay in its range",
    ),
    minutes=150,
    prerequisites=(
        "lessons 02, 03, 04 and 06",
        "[lesson 10](10_mini_transformer.ipynb) for the language model",
    ),
    exercises=(SPLIT_EXPERT, CUT_COSTS, LATENT_MOE, HIERARCHICAL, COMPUTE_OPTIMAL, LEVERAGE),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Dai et al. 2024, *DeepSeekMoE*, [arXiv 2401.06066](https://arxiv.org/abs/2401.06066): fine-grained "
        "and shared experts (section 3), their ablations (section 4.5 and fig. 3)",
        "Krajewski et al. 2024, *Scaling Laws for Fine-Grained Mixture of Experts*, [arXiv "
        "2402.07871](https://arxiv.org/abs/2402.07871): the law (eq. 9 and 10), its constants (table 1) and "
        "what it recommends (table 2)",
        "Tian et al. 2025, *Towards Greater Leverage*, [arXiv 2507.17702](https://arxiv.org/abs/2507.17702): "
        "Ling's law of efficiency leverage (eq. 10 and 13, table 2)",
        "Clark et al. 2022, *Unified Scaling Laws for Routed Language Models*, [arXiv "
        "2202.01169](https://arxiv.org/abs/2202.01169)",
        "Kimi Team 2025, *Kimi K2*, [arXiv 2507.20534](https://arxiv.org/abs/2507.20534): three numbers on "
        "sparsity (section 2.3)",
        "Muennighoff et al. 2024, *OLMoE*, [arXiv 2409.02060](https://arxiv.org/abs/2409.02060): granularity "
        "and shared experts tried out (sections 4.1.2 and 4.1.3)",
        "Shazeer et al. 2017, *Outrageously Large Neural Networks*, [arXiv "
        "1701.06538](https://arxiv.org/abs/1701.06538): two levels (appendix B), up to 131,072 experts "
        "(table 8)",
        "*LatentMoE*, [arXiv 2601.18089](https://arxiv.org/abs/2601.18089): experts in a narrower width",
    ),
)

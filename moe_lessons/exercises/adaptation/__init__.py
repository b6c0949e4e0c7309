"""Lesson 13: another text, more experts, fewer of them, and reinforcement learning: after the training."""

from moe_lessons.exercises.adaptation.claims import CLAIMS
from moe_lessons.exercises.adaptation.merge import MERGE
from moe_lessons.exercises.adaptation.prune import PRUNE
from moe_lessons.exercises.adaptation.puzzles import PUZZLES
from moe_lessons.exercises.adaptation.questions import PREDICTIONS, QUIZZES
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
    goals=(
        "choose what to freeze by the amount of text, and find a model's parts by name without catching "
        "others",
        "make experts out of a dense model that compute exactly what it did, and check that they do",
        "say who would be missed, prune by it, and know when to merge instead",
        "bring the hidden units of two experts into one order before averaging them",
        "say why a sampler and a trainer disagree about experts, and replay a routing",
    ),
    minutes=150,
    prerequisites=(
        "[lesson 04](04_collapse.ipynb) for what a router learns from",
        "[lesson 10](10_mini_transformer.ipynb) for training a language model",
        "[lesson 11](11_fine_grained.ipynb) for cutting experts",
    ),
    exercises=(WHAT_TRAINS, UPCYCLE, SALIENCY, PRUNE, MERGE, REPLAY),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Zoph et al. 2022, *ST-MoE*, [arXiv 2202.08906](https://arxiv.org/abs/2202.08906): fine-tuning, and "
        "which parts to freeze (section 4)",
        "Muennighoff et al. 2024, *OLMoE*, [arXiv 2409.02060](https://arxiv.org/abs/2409.02060): upcycling "
        "against a start from nothing (section 4.1.5)",
        "Komatsuzaki et al. 2022, *Sparse Upcycling*, [arXiv 2212.05055](https://arxiv.org/abs/2212.05055), "
        "and He et al. 2024, *Upcycling Large Language Models into Mixture of Experts*, [arXiv "
        "2410.07524](https://arxiv.org/abs/2410.07524): virtual groups",
        "Lasby et al. 2025, *REAP the Experts*, [arXiv 2510.13999](https://arxiv.org/abs/2510.13999), which "
        "is for pruning, and Li et al. 2023, *Merge, Then Compress*, [arXiv "
        "2310.01334](https://arxiv.org/abs/2310.01334), which is for merging",
        "Ainsworth et al. 2022, *Git Re-Basin*, [arXiv 2209.04836](https://arxiv.org/abs/2209.04836): hidden "
        "units have no order",
        "Ma et al. 2025, *Stabilizing MoE Reinforcement Learning by Aligning Training and Inference "
        "Routers*, [arXiv 2510.11370](https://arxiv.org/abs/2510.11370)",
    ),
)

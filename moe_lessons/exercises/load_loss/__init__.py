"""Lesson 05: the load-balancing loss."""

from moe_lessons.exercises.load_loss.balancing_loss import BALANCING_LOSS
from moe_lessons.exercises.load_loss.chebyshev import CHEBYSHEV
from moe_lessons.exercises.load_loss.claims import CLAIMS
from moe_lessons.exercises.load_loss.counterexample import COUNTEREXAMPLE
from moe_lessons.exercises.load_loss.f_and_p import F_AND_P
from moe_lessons.exercises.load_loss.loss_gradient import LOSS_GRADIENT
from moe_lessons.exercises.load_loss.puzzles import PUZZLES
from moe_lessons.exercises.load_loss.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.load_loss.scope import SCOPE
from moe_lessons.exercises.load_loss.z_loss import Z_LOSS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="05_load_loss",
    title="The load-balancing loss",
    question="How does a loss balance something that cannot be differentiated?",
    goals=(
        "write the load-balancing loss as production codes should: per layer, without padding, with K",
        "derive what it does to every single logit",
        "read its value in a log, whichever code wrote it, and know what it cannot tell you",
        "say what the theorem about its minimum proves, where it fails, and why training balances anyway",
        "choose where the load shall be even: in a sequence, a micro-batch or the global batch",
    ),
    minutes=165,
    prerequisites=("[lesson 01](01_router.ipynb)", "lesson 04 for why balance is needed at all"),
    exercises=(F_AND_P, BALANCING_LOSS, LOSS_GRADIENT, CHEBYSHEV, COUNTEREXAMPLE, Z_LOSS, SCOPE),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Fedus et al. 2021, *Switch Transformers*, [arXiv 2101.03961](https://arxiv.org/abs/2101.03961): the "
        "loss (section 2.2, eq. 4-6) and its code (fig. 14)",
        "Shazeer et al. 2017, *Outrageously Large Neural Networks*, [arXiv "
        "1701.06538](https://arxiv.org/abs/1701.06538): importance and load losses (eq. 6-11), what they are "
        "worth (table 6)",
        "Lepikhin et al. 2020, *GShard*, [arXiv 2006.16668](https://arxiv.org/abs/2006.16668): the auxiliary "
        "loss in algorithm 1",
        "Zoph et al. 2022, *ST-MoE*, [arXiv 2202.08906](https://arxiv.org/abs/2202.08906): the router z-loss "
        "(eq. 5, table 4)",
        "Qiu et al. 2025, *Demons in the Detail*, [arXiv 2501.11873](https://arxiv.org/abs/2501.11873): the "
        "loss over the global batch",
        "DeepSeek-AI 2024, *DeepSeek-V3*, [arXiv 2412.19437](https://arxiv.org/abs/2412.19437): the loss "
        "over a sequence (eq. 17-20), and beside the batch (section 4.5.3)",
        "Hugging Face transformers, [issue 28255](https://github.com/huggingface/transformers/issues/28255): "
        "the loss pooled over layers",
    ),
)

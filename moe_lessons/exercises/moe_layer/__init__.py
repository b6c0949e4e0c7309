"""Lesson 02: the MoE layer."""

from moe_lessons.exercises.moe_layer.claims import CLAIMS
from moe_lessons.exercises.moe_layer.expert_bank import EXPERT_BANK
from moe_lessons.exercises.moe_layer.moe_loop import MOE_LOOP
from moe_lessons.exercises.moe_layer.moe_sorted import MOE_SORTED
from moe_lessons.exercises.moe_layer.puzzles import PUZZLES
from moe_lessons.exercises.moe_layer.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.moe_layer.router_gradient import ROUTER_GRADIENT
from moe_lessons.exercises.moe_layer.shared_expert import SHARED_EXPERT
from moe_lessons.exercises.moe_layer.swiglu import SWIGLU
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="02_moe_layer",
    title="The MoE layer",
    question="How does one FFN become E of them, at the cost of K?",
    goals=(
        "Write a SwiGLU expert, a bank of them, and the whole layer in two ways that agree.",
        "Say what the layer costs: which part grows with E, and which does not.",
        "Tell conditional computation from an ensemble, and name a task where each wins.",
        "Derive the router's gradient and see at once why K = 1 with renormalised weights has none.",
    ),
    minutes=165,
    prerequisites=("[lesson 01](01_router.ipynb)", "matrix products and backward in PyTorch"),
    exercises=(SWIGLU, EXPERT_BANK, MOE_LOOP, MOE_SORTED, ROUTER_GRADIENT, SHARED_EXPERT),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Shazeer et al., [Outrageously Large Neural Networks](https://arxiv.org/abs/1701.06538): the sparse "
        "layer, eq. 1 to 5.",
        "Fedus, Zoph and Shazeer, [Switch Transformers](https://arxiv.org/abs/2101.03961): K = 1, and why "
        "the probability is kept.",
        "Shazeer, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202): SwiGLU, two pages.",
        "Jiang et al., [Mixtral of Experts](https://arxiv.org/abs/2401.04088): the layer of this lesson.",
        "Dai et al., [DeepSeekMoE](https://arxiv.org/abs/2401.06066): shared experts, and what masking the "
        "best experts does.",
        "Xiong et al., [On Layer Normalization in the Transformer Architecture]"
        "(https://arxiv.org/abs/2002.04745): pre-norm and post-norm.",
    ),
)

"""Lesson 03: what a Mixture-of-Experts model costs."""

from moe_lessons.exercises.counting.claims import NAMED, SIZES
from moe_lessons.exercises.counting.claims_systems import SYSTEMS
from moe_lessons.exercises.counting.flops_per_token import FLOPS_PER_TOKEN
from moe_lessons.exercises.counting.four_numbers import FOUR_NUMBERS
from moe_lessons.exercises.counting.memory import MEMORY
from moe_lessons.exercises.counting.mixtral import MIXTRAL
from moe_lessons.exercises.counting.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.counting.swiglu_moe_params import SWIGLU_MOE_PARAMS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="03_counting",
    title="Counting",
    question="What does a Mixture-of-Experts model cost?",
    goals=(
        "count any published model's parameters from its config, exact to the last one",
        "say what a publisher means by active, and get from there to FLOPs per token",
        "compute the bytes of weights, KV cache and optimizer state, in the unit you will be billed in",
        "say when a batch reads all experts, and decide between MoE and dense with numbers",
    ),
    minutes=120,
    prerequisites=("[lesson 02](02_moe_layer.ipynb)", "multiplication"),
    exercises=(SWIGLU_MOE_PARAMS, MIXTRAL, FLOPS_PER_TOKEN, MEMORY, FOUR_NUMBERS),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    claims=SIZES + NAMED + SYSTEMS,
    sources=(
        "Jiang et al. 2024, *Mixtral of Experts*, [arXiv 2401.04088](https://arxiv.org/abs/2401.04088): "
        "dimensions (table 1), what its comparison leaves out (section 3)",
        "DeepSeek-AI 2024, *DeepSeek-V2*, [arXiv 2405.04434](https://arxiv.org/abs/2405.04434): MLA and what "
        "it keeps per token (section 2.1, table 1)",
        "DeepSeek-AI 2024, *DeepSeek-V3*, [arXiv 2412.19437](https://arxiv.org/abs/2412.19437)",
        "OpenAI 2025, *gpt-oss*, [arXiv 2508.10925](https://arxiv.org/abs/2508.10925): a card that says what "
        "it counts (table 1), MXFP4 experts",
        "Kaplan et al. 2020, *Scaling Laws for Neural Language Models*, "
        "[arXiv 2001.08361](https://arxiv.org/abs/2001.08361): 2N and 6N FLOPs per token (section 2.1)",
        "Rajbhandari et al. 2019, *ZeRO*, [arXiv 1910.02054](https://arxiv.org/abs/1910.02054): 16 bytes per "
        "parameter in training (section 3.1)",
        "Kimi Team 2025, *Kimi K2*, [arXiv 2507.20534](https://arxiv.org/abs/2507.20534): what more experts "
        "bought at equal active size (section 2.3)",
    ),
)

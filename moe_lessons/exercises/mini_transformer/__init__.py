"""Lesson 10: the mini transformer."""

from moe_lessons.exercises.mini_transformer.bits_per_byte import BITS_PER_BYTE
from moe_lessons.exercises.mini_transformer.causal_attention import CAUSAL_ATTENTION
from moe_lessons.exercises.mini_transformer.claims import CLAIMS
from moe_lessons.exercises.mini_transformer.expert_information import EXPERT_INFORMATION
from moe_lessons.exercises.mini_transformer.mixtral_keys import MIXTRAL_KEYS
from moe_lessons.exercises.mini_transformer.moe_block import MOE_BLOCK
from moe_lessons.exercises.mini_transformer.puzzles import PUZZLES
from moe_lessons.exercises.mini_transformer.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.mini_transformer.training_loss import TRAINING_LOSS
from moe_lessons.exercises.mini_transformer.training_step import TRAINING_STEP
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="10_mini_transformer",
    title="The mini transformer",
    question="What does it take to train a Mixture-of-Experts transformer, and is it worth it?",
    goals=(
        "read every line of a small Mixture-of-Experts transformer, and say which tensor has which shape;",
        "tell what a loss means: in bits per byte, beside baselines, on text that was held out;",
        "write attention, the block, the training loss with its two router losses, the step, the evaluation;",
        "watch a run: is it learning, are its experts used, can it see the future?",
        "compare with dense models so that the comparison means something, and say what came out;",
        "measure what experts take up, against chance, and export the model to where Mixtral runs;",
        "put your own parts together to a transformer, train it, let it write, and export it.",
    ),
    minutes=210,
    prerequisites=("lessons 01 and 02", "having seen a transformer's attention once"),
    exercises=(
        BITS_PER_BYTE,
        CAUSAL_ATTENTION,
        MOE_BLOCK,
        TRAINING_LOSS,
        TRAINING_STEP,
        EXPERT_INFORMATION,
        MIXTRAL_KEYS,
    ),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Jiang et al., *Mixtral of Experts*, [arXiv 2401.04088](https://arxiv.org/abs/2401.04088): the "
        "structure of our model.",
        "Fedus, Zoph and Shazeer, *Switch Transformers*, "
        "[arXiv 2101.03961](https://arxiv.org/abs/2101.03961): the load-balancing loss (equations 4 to 6) "
        "and its weight.",
        "Zoph et al., *ST-MoE*, [arXiv 2202.08906](https://arxiv.org/abs/2202.08906): the router z-loss "
        "(equation 5).",
        "Xiong et al., *On Layer Normalization in the Transformer Architecture*, "
        "[arXiv 2002.04745](https://arxiv.org/abs/2002.04745): pre-norm against post-norm.",
        "Dai et al., *DeepSeekMoE*, [arXiv 2401.06066](https://arxiv.org/abs/2401.06066): dense and MoE at "
        "equal FLOPs (table 1).",
        "Krajewski et al., *Scaling Laws for Fine-Grained Mixture of Experts*, "
        "[arXiv 2402.07871](https://arxiv.org/abs/2402.07871): when it pays (abstract, section 6.3).",
        "Xue et al., *OpenMoE*, [arXiv 2402.01739](https://arxiv.org/abs/2402.01739): experts that follow "
        "the token id.",
        "DeepSeek-AI, *DeepSeek-V3 Technical Report*, [arXiv 2412.19437](https://arxiv.org/abs/2412.19437): "
        "the scope of balance and what experts become (section 4.5.3).",
        "Karpathy, [nanoGPT](https://github.com/karpathy/nanoGPT): a dense decoder of this size, trained "
        "in one file.",
        "Su et al., *RoFormer*, [arXiv 2104.09864](https://arxiv.org/abs/2104.09864): rotary positions.",
        "Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, "
        "[arXiv 1711.05101](https://arxiv.org/abs/1711.05101): AdamW.",
        "The text is the language reference of Python 3.11.7 (`pydoc_data.topics`), which comes with the "
        "course.",
    ),
)

"""Lesson 15: what a token costs when one asks, and when a thousand ask."""

from moe_lessons.exercises.serving.claims import CLAIMS
from moe_lessons.exercises.serving.continuous import CONTINUOUS
from moe_lessons.exercises.serving.expert_cache import EXPERT_CACHE
from moe_lessons.exercises.serving.puzzles import PUZZLES
from moe_lessons.exercises.serving.quantise import QUANTISE
from moe_lessons.exercises.serving.questions import PREDICTIONS, QUIZZES
from moe_lessons.exercises.serving.speculate import SPECULATE
from moe_lessons.exercises.serving.speculation_pays import SPECULATION_PAYS
from moe_lessons.exercises.spec import Lesson

LESSON = Lesson(
    id="15_serving",
    title="One token for one user",
    question="What does a token cost when one person asks, and when a thousand ask?",
    goals=(
        "predict what a decode step reads from the experts that its tokens touch",
        "tell prefill from decode on a roofline, and place the KV cache in the same sum",
        "choose a cache for offloaded experts from a trace, and say what it could win at most",
        "quantise experts, and say in bits per byte what that cost",
        "implement exact speculative sampling, and say at which batch it loses",
        "hand your own checkpoint to a server that other programs can talk to",
    ),
    minutes=150,
    prerequisites=(
        "lessons 03 and 08",
        "[lesson 10](10_mini_transformer.ipynb) for the language model",
    ),
    exercises=(CONTINUOUS, EXPERT_CACHE, QUANTISE, SPECULATE, SPECULATION_PAYS),
    quizzes=QUIZZES,
    predictions=PREDICTIONS,
    puzzles=PUZZLES,
    claims=CLAIMS,
    sources=(
        "Leviathan, Kalman and Matias 2023, *Fast Inference from Transformers via Speculative Decoding*, "
        "[arXiv 2211.17192](https://arxiv.org/abs/2211.17192): algorithm 1, and why it is exact (appendix "
        "A.1)",
        "DeepSeek-AI 2024, *DeepSeek-V3 Technical Report*, [arXiv 2412.19437](https://arxiv.org/abs/"
        "2412.19437): deployment (section 3.4), multi-token prediction as a draft (section 5.4.3)",
        "Eliseev and Mazur 2023, *Fast Inference of Mixture-of-Experts Language Models with Offloading*, "
        "[arXiv 2312.17238](https://arxiv.org/abs/2312.17238): an LRU cache of experts, and guessing the "
        "next layer's",
        "Yu et al. 2022, *Orca*, OSDI 2022: batching by the step instead of by the request",
        "*MoESD*, [arXiv 2505.19645](https://arxiv.org/abs/2505.19645): speculative decoding pays more for "
        "a sparse model than for a dense one at middle batches (read as an abstract)",
        "*OEA*, [arXiv 2511.02237](https://arxiv.org/abs/2511.02237): experts that the batch loads anyway "
        "(read as an abstract)",
    ),
)

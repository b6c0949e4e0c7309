"""The claims that lesson 14 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L96",
        "Hot experts make stragglers; a load balancer moves them or makes copies (EPLB).",
        "correct",
        "DeepSeek-V3 serves with 32 redundant experts and plans anew about every ten minutes. Packing ends "
        "at the hottest expert, copies go on. And a plan is a forecast: on text of another kind it can be "
        "worse than none.",
        "arXiv 2412.19437, section 3.4; github.com/deepseek-ai/EPLB; the traces of this lesson",
    ),
    Claim(
        "L97",
        "vLLM, SGLang and DeepSpeed-MoE support expert parallelism.",
        "correct",
        "Each has a flag for it; what a layer must fulfil is the same everywhere: the number of ranks "
        "divides the number of experts.",
        "the frameworks' documentation, as listed in the lesson",
    ),
    Claim(
        "L102",
        "Expert parallelism is used together with tensor and pipeline parallelism.",
        "correct",
        "DeepSeek-V3 trained with 16 pipeline stages, 64 expert-parallel ranks over 8 nodes, and data "
        "parallelism; it left tensor parallelism out in training and uses it for attention in serving.",
        "arXiv 2412.19437, sections 3.2 and 3.4.1; the four ranks of this lesson",
    ),
    Claim(
        "L103",
        "MoE is mostly a story about distributed serving.",
        "imprecise",
        "For the largest models, which no GPU holds. gpt-oss-20b fits into one consumer card's 16 GB, and "
        "then its few active parameters are the whole story.",
        "the counter of lesson 03; arXiv 2412.19437, section 3.4",
    ),
)

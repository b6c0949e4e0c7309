"""The claims that lesson 16 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L133",
        "Conditional computation need not stop at the feed-forward layer.",
        "correct",
        "Depth can be chosen for each token, too. In a language model the choice must be causal: a router "
        "that takes the best of a sequence can get below the entropy of fair coins, its causal version "
        "cannot.",
        "arXiv 2404.02258; the models of this lesson",
    ),
    Claim(
        "L134",
        "Retrieval-augmented experts, with an external memory, are a coming direction.",
        "unconfirmable",
        "Nothing public has that name. What exists: a million tiny experts found by product keys (PEER), "
        "memory layers, tables of n-grams (Engram). They are inside of the model, and are trained with it.",
        "arXiv 2407.04153; arXiv 2412.09764; arXiv 2601.07372",
    ),
    Claim(
        "L136",
        "State-space models such as Mamba challenge the transformer with MoE.",
        "wrong",
        "They are combined. Jamba, Qwen3-Next, Qwen3.5 and Nemotron 3 have states, attention and experts in "
        "one model.",
        "the models' configurations, in the catalogue of moe_lessons.accounting; arXiv 2403.19887",
    ),
    Claim(
        "L116",
        "To train a trillion parameters and run all of them for each token is prohibitive.",
        "imprecise",
        "It is a matter of price. On 20 trillion tokens it takes more than 30 times the compute of "
        "DeepSeek-V3, and three times that of Llama-3.1-405B, which was dense and was trained.",
        "arXiv 2412.19437, table 1; arXiv 2407.21783, section 3; the arithmetic of this lesson",
    ),
    Claim(
        "L115",
        "The largest language models are Mixtures of Experts; the frontier has gone sparse.",
        "imprecise",
        "For open weights it is so: the ten largest are sparse. Of closed models nobody outside can say, and "
        "they have no row in the table.",
        "moe_lessons/results/open_models.json, with a source for each row",
    ),
    Claim(
        "L118",
        "GPT-4 is a Mixture of Experts.",
        "unconfirmable",
        "OpenAI has not said so. Neither speed nor price can show it: for every sparse model there is a "
        "dense one that reads as many bytes for a token.",
        "the arithmetic of this lesson; arXiv 2303.08774 gives no architecture (section 2)",
    ),
    Claim(
        "L141",
        "GPT-4's efficiency at inference matches that of a Mixture of Experts.",
        "unconfirmable",
        "A speed is bytes over bandwidth. Sparsity, number format and hardware enter it alike, and no public "
        "measurement takes them apart.",
        "the arithmetic of this lesson, for two number formats",
    ),
    Claim(
        "L119",
        "GPT-4 is rumoured to be a mixture of about eight experts.",
        "unconfirmable",
        "There are two rumours, 8 experts and 16, and they exclude each other: with 8 experts, two a token, "
        "1.8 trillion parameters cannot have 280 billion active.",
        "moe_lessons/results/rumours.json; the arithmetic of this lesson",
    ),
    Claim(
        "L120",
        "That GPT-4 is a Mixture of Experts is a rumour from 2023, and not confirmed.",
        "correct",
        "So it is to be told. The pages that give the compute of a token repeat one slip of a factor of "
        "1,000: many pages, one source, and it is not OpenAI.",
        "moe_lessons/results/rumours.json",
    ),
    Claim(
        "L138",
        "An explainer's list of references: Shazeer (ICLR 2017), Fedus (JMLR 2022), Zhou (NeurIPS 2022), "
        "DeepSeek-V2, DeepSeek-V3, Wang.",
        "imprecise",
        "Venues and arXiv numbers are right. The title of Switch Transformers is cut short: it goes on “with "
        "Simple and Efficient Sparsity”.",
        "moe_lessons/results/bibliography.json",
    ),
)

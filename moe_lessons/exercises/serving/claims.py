"""The claims that lesson 15 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L13",
        "Every parameter is paid for twice: with FLOPs in training, and with bytes streamed from memory for "
        "every single token when the model answers.",
        "imprecise",
        "A decode step streams weights once for *all* tokens in it: Mixtral reads over a hundred times fewer "
        "bytes a token with 1,024 users than with one. And one user's token streams the active weights, "
        "not every parameter.",
        "moe_lessons.accounting; arXiv 2401.04088 for the sizes",
    ),
    Claim(
        "L98",
        "All experts must be in fast memory, although a token uses few of them.",
        "imprecise",
        "They must be *somewhere*. An engine that holds half of the experts and loads the others on demand "
        "writes the same text, byte for byte. What it costs is time: every miss is an expert moved.",
        "the engine of this lesson; arXiv 2312.17238 (Mixtral offloading)",
    ),
    Claim(
        "L135",
        "Speculative decoding and quantisation come next for making MoE models fast.",
        "correct",
        "Both work: the same text from a draft, and int4 experts at hardly any loss. With a twist: drafted "
        "tokens bring experts of their own, so that a draft hardly pays for one user and pays most at middle "
        "batches.",
        "computed here; arXiv 2211.17192; arXiv 2505.19645 (MoESD)",
    ),
)

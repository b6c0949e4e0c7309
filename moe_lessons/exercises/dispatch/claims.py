"""What explainers say about the speed of MoE layers, and what the sources say."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L35",
        "A sparse model with 14 billion active parameters trains in about the time of a dense one with 14.",
        "imprecise",
        "The FLOPs match. The time does not follow from them: the same products meet E / K times as many "
        "weights, in smaller pieces, and routing and exchanges come on top. Switch is slower per step than "
        "a dense model of equal FLOPs.",
        "arXiv 2101.03961, section 3.2; counted here, timed on your machine",
    ),
    Claim(
        "L93",
        "With expert parallelism each GPU holds one expert.",
        "imprecise",
        "As many as are placed there. In DeepSeek-V3's report decoding has one per GPU; in prefill a GPU "
        "holds eight and one redundant copy.",
        "arXiv 2412.19437, section 3.4",
    ),
    Claim(
        "L94",
        "Spread over devices, every MoE layer needs an all-to-all exchange, and it is the bottleneck.",
        "imprecise",
        "Two in a forward pass, dispatch and combine, if tokens travel to experts. Whether they are the "
        "bottleneck depends on the links: in this lesson's model of one layer they take most of it over a "
        "network between nodes and less than half within a node. DeepSeek-V3 reports about as much time in "
        "them as in arithmetic before it overlaps the two.",
        "arXiv 2101.03961, figure 16; arXiv 2412.19437, sections 3.2 and 3.2.1; computed here at 50, 160 and "
        "450 GB/s",
    ),
    Claim(
        "L95",
        "The all-to-all is limited by bandwidth and waits for the fullest rank.",
        "imprecise",
        "It does wait for the fullest rank. With thousands of rows per partner bandwidth decides, as in "
        "training; with a row or two, as in decoding on many GPUs, latency does.",
        "arXiv 2412.19437, section 3.4.2; the model of this lesson",
    ),
    Claim(
        "L100",
        "Batching is harder because each token goes elsewhere.",
        "correct",
        "Each expert sees only k b / n rows of a batch of b: the shrinking batch problem.",
        "arXiv 1701.06538, section 3.1",
    ),
    Claim(
        "L101",
        "MoE needs custom kernels, because libraries assume dense matrices.",
        "outdated",
        "Grouped products are in CUTLASS and in PyTorch itself (`F.grouped_mm`). Kernels of one's own still "
        "win by fusing the gather, the activation and the sum into them.",
        "docs.pytorch.org, torch.nn.functional.grouped_mm; arXiv 2512.14080; computed here",
    ),
)

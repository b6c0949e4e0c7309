"""The claims that lesson 03 settles about memory, serving, and the choice between MoE and dense."""

from moe_lessons.exercises.spec import Claim

SYSTEMS = (
    Claim(
        "L39",
        "Mixtral gives the quality of a 70 B model at about a fifth of the inference compute.",
        "imprecise",
        "It has 5.36 times fewer active parameters than Llama-2-70B, and that is what the paper says. Time "
        "follows only while few tokens are batched, or very many; in between all experts are read.",
        "arXiv 2401.04088, section 3 (which leaves memory and hardware use out, in its own words)",
    ),
    Claim(
        "L40",
        "MoE saves compute, not memory.",
        "contested",
        "Against a dense model of equal active size it needs more memory: 3.6 times for Mixtral. Against one "
        "of equal quality it may need less, as Mixtral does against Llama-2-70B.",
        "arXiv 2502.05172, abstract; counted in this lesson",
    ),
    Claim(
        "L41",
        "Inference cost scales with active parameters, not with the total.",
        "imprecise",
        "It holds for one token at a time and for a thousand. In between bytes read are the cost of "
        "decoding, and n tokens touch E(1 - (1 - K/E)^n) experts of a layer: 102 of DeepSeek-V3's 256 at n "
        "= 16, 222 at n = 64. There the cost is nearly that of the total.",
        "roofline and draws in this lesson; arXiv 2511.02237 measures latency against experts touched",
    ),
    Claim(
        "L42",
        "An MoE model gives less throughput per byte of VRAM than a dense one.",
        "imprecise",
        "True against a dense model of equal active size. Against one of equal total size it gives as much "
        "or more, at every batch.",
        "roofline in this lesson",
    ),
    Claim(
        "L43",
        "MoE models are economical to serve at a given quality.",
        "contested",
        "It depends on batch and memory: against Llama-2-70B the advantage of Mixtral runs from 1.5 to over "
        "5 times in the model of this lesson. What is defensible: cheaper per quality if you can afford the "
        "memory and the routing.",
        "roofline in this lesson; no measured prices were compared",
    ),
    Claim(
        "L99",
        "The KV cache and all experts must fit in memory together.",
        "correct",
        "Mixtral's cache takes 128 KiB per token in bf16. Sixteen texts of 32,768 tokens add 68.7 GB to 93.4 "
        "GB of weights.",
        "arXiv 2401.04088, table 1; counted in this lesson",
    ),
    Claim(
        "L123",
        "MoE wins where compute is the limit, throughput counts more than latency, and memory is there.",
        "correct",
        "Mostly. It is not throughput only: one token at a time, an MoE also reads fewer bytes than a dense "
        "model of its total size.",
        "arXiv 2401.04088, section 3; roofline in this lesson",
    ),
    Claim(
        "L124",
        "Dense models win where latency per token must be lowest.",
        "contested",
        "Against a dense model of equal active size, yes. Against one of equal total size or quality the MoE "
        "reads fewer bytes at batch 1 and is faster.",
        "roofline in this lesson",
    ),
    Claim(
        "L140",
        "Dense wins where memory is the bottleneck or the training stack lacks expert parallelism.",
        "correct",
        "Mostly. At equal active size the MoE needs 3.6 times the bytes to serve and to train. Quantised "
        "experts narrow it: gpt-oss-120b in MXFP4 takes 65 GB and fits on one GPU of 80 GB.",
        "arXiv 2508.10925, section 2.1; counted in this lesson",
    ),
)

"""The claims that lesson 03 settles, sizes and compute first; ``claims_systems`` has memory and serving."""

from moe_lessons.exercises.spec import Claim

SIZES = (
    Claim(
        "L26",
        "With N experts, an MoE layer has N times the parameters of the FFN it replaces.",
        "correct",
        "For the FFN's matrices, exactly. A small router comes on top, and shared experts where there are "
        "any. The rest of the model stays as it was.",
        "arXiv 2401.04088, section 2.1; counted in this lesson",
    ),
    Claim(
        "L27",
        "A token that uses k of N experts costs k dense FFNs, which is k/N of what all experts would cost.",
        "correct",
        "For the FFN part, if each expert is as large as the dense FFN was. Fine-grained experts are "
        "smaller.",
        "arXiv 2401.04088, section 2.1; counted in this lesson",
    ),
    Claim(
        "L28",
        "Eight experts, two per token: 8 times the parameters for only 2 times the compute.",
        "wrong",
        "For the FFN alone it holds. The whole of Mixtral has 6.45 times the parameters of Mistral-7B and "
        "1.78 times the active ones, because attention and embeddings are not multiplied.",
        "arXiv 2401.04088, table 1; arXiv 2310.06825, table 1",
    ),
    Claim(
        "L29",
        "Total parameters are N times an expert's size, active ones k times.",
        "wrong",
        "Of a model there is more than experts. Mixtral: 45.10 B in experts and 1.61 B in everything else.",
        "arXiv 2401.04088, table 1; counted in this lesson",
    ),
    Claim(
        "L30",
        "An MoE model has far more parameters than it uses for a token.",
        "correct",
        "From 2.8 times (Switch-Base-8) to 909 times (Switch-C) among the models counted here.",
        "counted in this lesson",
    ),
    Claim(
        "L31",
        "DeepSeek-V3 holds 671 B parameters and uses 37 B: a factor of about 18.",
        "correct",
        "671,026,404,352 against 36.6 B (without the input embedding) or 37.6 B (with it): 18.3 or 17.9.",
        "arXiv 2412.19437, section 4.2",
    ),
    Claim(
        "L32",
        "A 671 B MoE and a 671 B dense model need similar memory and very different compute per token.",
        "correct",
        "The same number of weights, so the same bytes; the dense one would multiply with all of them. We "
        "know of no published dense model of that size to compare quality with.",
        "arithmetic; arXiv 2412.19437",
    ),
    Claim(
        "L33",
        "MoE buys much more capacity per active FLOP, but it is no free lunch.",
        "correct",
        "Capacity here means parameters. The price is memory, and bytes to read as soon as tokens are "
        "batched.",
        "arXiv 2401.04088, section 3; counted in this lesson",
    ),
    Claim(
        "L34",
        "Quality scales with total parameters, cost with active ones.",
        "contested",
        "More experts at equal active size do lower the loss, but far less than in proportion: six times "
        "the sparsity saved 1.69 times the FLOPs in Kimi-K2's study, and with 131,072 experts Shazeer's "
        "perplexity was no better than with 65,536 (29.2 and 28.9). And cost follows active parameters "
        "only as long as compute is what you pay for. Quality itself was not measured in this lesson.",
        "arXiv 2507.20534, section 2.3; arXiv 1701.06538, table 8",
    ),
    Claim(
        "L35",
        "An MoE with 14 B active of 140 B parameters costs about as much to train as a dense 14 B model.",
        "imprecise",
        "In FLOPs, yes. Not in memory: weights, gradients and optimizer state are held for all 140 B. Nor "
        "in time, where routing, all-to-all and small matrix products come on top. The model is "
        "hypothetical.",
        "arXiv 2101.03961, section 3.2; arXiv 2402.07871, fig. 5b",
    ),
    Claim(
        "L36",
        "Mixtral is a model of 13 B FLOPs with the VRAM cost of 47 B.",
        "imprecise",
        "The idea is right, the units are not: 12.7 B multiply-adds are 25.5 GFLOP per token, and 46.7 B "
        "parameters in bf16 are 93.4 GB.",
        "arXiv 2401.04088, section 3; counted in this lesson",
    ),
    Claim(
        "L37",
        "It is a mistake to quote total parameters where active ones are meant.",
        "correct",
        "Compute per token follows active parameters, memory follows the total; among the models counted "
        "here the two differ by 2.8 to 909 times.",
        "counted in this lesson",
    ),
    Claim(
        "L38",
        "Publishers differ in what they count as active.",
        "correct",
        "Mixtral counts everything a token touches. gpt-oss leaves the input embedding out, and says so. "
        "GLM-4.5 leaves out embedding and head and adds a prediction layer. No one convention gives all "
        "published figures.",
        "arXiv 2508.10925, table 1; arXiv 2508.06471, table 1; arXiv 2401.04088",
    ),
)

NAMED = (
    Claim(
        "L104",
        "Mixtral 8x7B has 46.7 B parameters, 12.9 B of them active.",
        "correct",
        "46,702,792,704 and 12,879,925,248, embedding and head included in both.",
        "arXiv 2401.04088, table 1; counted in this lesson",
    ),
    Claim(
        "L105",
        "The Mixtral paper is Jiang et al., 2023.",
        "wrong",
        "Its arXiv number begins with 2401: January 2024. The weights came out in December 2023.",
        "arXiv 2401.04088",
    ),
    Claim(
        "L106",
        "Mixtral matches or beats a dense 70 B model.",
        "correct",
        "Llama-2-70B, on nine of the twelve benchmarks of the paper's own table. It loses on HellaSwag, "
        "WinoGrande and TriviaQA; the abstract claims all of them.",
        "arXiv 2401.04088, table 2",
    ),
    Claim(
        "L107",
        "Mixtral was one of the first widely available open MoE models.",
        "imprecise",
        "Switch Transformer and NLLB-MoE were open years before. It was the first that competed with the "
        "best open dense models.",
        "arXiv 2101.03961; arXiv 2207.04672",
    ),
    Claim(
        "L108",
        "DeepSeek-V3: 671 B parameters, 37 B active, fine-grained experts.",
        "correct",
        "671,026,404,352 and, without the input embedding, 36,625,603,584; 256 experts of width 2048, 8 "
        "used.",
        "arXiv 2412.19437, section 4.2",
    ),
    Claim(
        "L109",
        "DeepSeek's models use 64 or more fine-grained experts.",
        "correct",
        "64 in V2-Lite, 160 in V2, 256 in V3.",
        "arXiv 2405.04434; arXiv 2412.19437",
    ),
    Claim(
        "L110",
        "Grok-1 has 314 B parameters.",
        "correct",
        "As published: 314.88 B without the embedding, cut off after the point; 315.68 B with it.",
        "github.com/xai-org/grok-1, run.py; counted in this lesson",
    ),
    Claim(
        "L111",
        "Grok-1 uses 86 B parameters per token.",
        "wrong",
        "The published configuration gives 82.95 B, 83.76 B or 84.56 B, depending on how often the tied "
        "embedding is counted. No convention gives 86, and xAI said only that 25 % of the weights are "
        "active.",
        "github.com/xai-org/grok-1, run.py; x.ai/news/grok-os; counted in this lesson",
    ),
    Claim(
        "L112",
        "Switch Transformers scaled to more than a trillion parameters.",
        "correct",
        "Switch-C: 1,571,308,972,448, which the paper rounds to 1571 B.",
        "arXiv 2101.03961, table 9",
    ),
    Claim(
        "L113",
        "Experts in Mixtral, DeepSeek-V3 and Qwen's MoE models are gated (SwiGLU): three matrices each.",
        "correct",
        "Gate, up and down. Counting two gives 31.7 B for Mixtral, nearly a third too little.",
        "arXiv 2401.04088, section 2.1; arXiv 2505.09388; arXiv 2412.19437",
    ),
    Claim(
        "L114",
        "Mixtral has trillions of parameters.",
        "wrong",
        "0.047 trillion. Switch-C with 1.57 and Kimi-K2 with 1.03 trillion are of that size.",
        "arXiv 2401.04088; arXiv 2101.03961, table 9; arXiv 2507.20534",
    ),
    Claim(
        "L127",
        "Mixtral has 46.7 B parameters rather than 56 B, and 12.9 B active rather than 14 B, because only "
        "the FFNs are multiplied.",
        "correct",
        "Attention (1.34 B), embedding and head (0.26 B) exist once. And 8 x 7 is not what the name "
        "would give anyway: Mistral-7B has 7.24 B, so it would be 57.9 B and 14.5 B.",
        "arXiv 2401.04088, table 1; counted in this lesson",
    ),
)

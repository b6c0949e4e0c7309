"""What explainers say about the MoE layer, and what the sources say."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L1",
        "A MoE layer is one FFN replaced by N of them and a router that sends each token to its top k.",
        "correct",
        "That is the sparse layer of today's transformers. The mixture of 1991 ran all its experts on "
        "everything.",
        "arXiv 1701.06538, section 2; Jacobs et al., Neural Computation 3 (1991)",
    ),
    Claim(
        "L2",
        "Each expert has the shape of the dense FFN that it replaces.",
        "imprecise",
        "True of Switch, GShard and Mixtral. Fine-grained models make experts narrower and choose more of "
        "them.",
        "arXiv 2412.19437, section 4.2; arXiv 2507.20534, table 2; arXiv 2402.07871",
    ),
    Claim(
        "L3",
        "The FFN is replaced in every transformer block.",
        "imprecise",
        "In Mixtral it is. GShard and Switch replace every second, ST-MoE-L every fourth, and DeepSeek-V3 "
        "keeps its first three dense.",
        "arXiv 2101.03961, section 2; arXiv 2202.08906; arXiv 2412.19437, section 4.2",
    ),
    Claim(
        "L4",
        "Attention is typically not made of experts.",
        "correct",
        "Typically so; SwitchHead, Mixture of Attention Heads and JetMoE are exceptions.",
        "arXiv 2401.04088, table 1; exceptions arXiv 2312.07987, 2210.05144, 2404.07413",
    ),
    Claim(
        "L5",
        "An expert can be any differentiable function.",
        "correct",
        "Inputs and outputs need matching sizes, no more. LongCat-Flash has experts that return their input.",
        "arXiv 1701.06538, section 2; arXiv 2509.01322",
    ),
    Claim(
        "L6",
        "The FFN is a wide two-layer MLP.",
        "imprecise",
        "That is the FFN of 2017. SwiGLU, which most models have now, holds three matrices: 3 * d * f "
        "weights where two layers have 2 * d * f.",
        "arXiv 2002.05202, eq. 6; arXiv 2401.04088, table 1",
    ),
    Claim(
        "L7",
        "A block is attention, add and norm, FFN, add and norm.",
        "imprecise",
        "That is post-norm, the order of 2017. Most blocks of today normalise before each part and leave "
        "the residual stream alone; Grok-1 normalises before and after.",
        "arXiv 1706.03762, section 3.1; arXiv 2002.04745; github.com/xai-org/grok-1, model.py",
    ),
    Claim(
        "L8",
        "MoE is conditional computation, not an ensemble: routing is part of the model.",
        "correct",
        "An ensemble runs every member on every token. For k > 1 the output is still a small weighted sum, "
        "chosen per token.",
        "arXiv 1701.06538, sections 1 and 2",
    ),
    Claim(
        "L9",
        "Experts decouple what a model holds from what a token costs.",
        "correct",
        "It holds as a rule of thumb. The router costs N * d per token, and memory and traffic are not "
        "decoupled.",
        "arXiv 2101.03961, section 2; computed here",
    ),
    Claim(
        "L10",
        "The output is a weighted sum of the k chosen experts' outputs.",
        "correct",
        "The weights come from the router. (Llama 4 weights the input instead.)",
        "arXiv 1701.06538, eq. 1",
    ),
    Claim(
        "L23",
        "Routing is trained by backpropagation with the rest, although top-k has no derivative.",
        "correct",
        "Gradient reaches the router through the kept weights alone, and experts not chosen get exactly "
        "zero.",
        "arXiv 1701.06538, section 2.1; arXiv 2101.03961, section 2.1",
    ),
    Claim(
        "L139",
        "Choosing two experts gives redundancy.",
        "imprecise",
        "The two are terms of one sum, not a spare for each other. Keeping one softens the loss of the "
        "other; the next in line is no replacement.",
        "arXiv 2401.06066, figure 4; computed here",
    ),
)

"""The claims that lesson 01 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L11",
        "Different tokens of one text take different paths.",
        "correct",
        "Yes, and the choice is made again in every layer: expert 3 of one layer has nothing to do with "
        "expert 3 of the next.",
        "arXiv 2401.04088, section 2.1",
    ),
    Claim(
        "L15",
        "The router multiplies the token embedding by a matrix of shape [vocab_size, num_experts].",
        "wrong",
        "It is one matrix, but with one vector of width D per expert, and it reads the hidden state at its "
        "layer. So one and the same token id may go to different experts. A table over the vocabulary is "
        "what a hash router has.",
        "arXiv 2101.03961, fig. 15; arXiv 2106.04426 (hash layers)",
    ),
    Claim(
        "L16",
        "`argsort(probs)[-k:]` picks each token's top-k experts.",
        "wrong",
        "Only for a single token. On a batch [T, E] the slice takes the last k tokens. "
        "Use `topk(k, dim=-1)` or `[..., -k:]`.",
        "PyTorch documentation of torch.topk; the shapes printed in this lesson",
    ),
    Claim(
        "L17",
        "A router outputs a probability distribution over all experts.",
        "imprecise",
        "Only the softmax over all E is one. Sigmoid and sqrt-softplus scores do not sum to 1, and softmax "
        "over the chosen k says nothing about the others.",
        "arXiv 2412.19437, eq. 12-16; arXiv 2401.04088, section 2.1",
    ),
    Claim(
        "L18",
        "The softmax comes before the top-k; or: it comes after.",
        "contested",
        "Explainers disagree because models do. After: Mixtral, gpt-oss. Before, then renormalised: "
        "GShard, Qwen3, DBRX, and that is the same function. Before, as it is: Switch, OLMoE, DeepSeek-V2. "
        "That is another one.",
        "arXiv 2401.04088, section 2.1; arXiv 2006.16668, algorithm 1; arXiv 2101.03961, eq. 1-2",
    ),
    Claim(
        "L19",
        "Always normalise the weights over the selected experts.",
        "wrong",
        "Not with K = 1: the weight is then the constant 1, and the task loss no longer reaches the router. "
        "Switch keeps the probability itself for this reason.",
        "arXiv 2101.03961, section 2.1, eq. 1-2",
    ),
    Claim(
        "L20",
        "K is usually 1 or 2.",
        "outdated",
        "It was in the years of GShard and Switch. Most of the course's models since 2024 choose 4 to 10, "
        "and the range goes from 1 (Llama-4) to 22 of 512 (Nemotron-3-Super).",
        "the source of each preset; config.json of Nemotron-3-Super",
    ),
    Claim(
        "L21",
        "DeepSeek-V3 chooses 8 experts by sigmoid scores and normalises over the chosen.",
        "correct",
        "Not said: a bias takes part in the choice alone, the choice is limited to 4 of 8 groups of "
        "experts, the weights are multiplied by 2.5, and one shared expert sees every token.",
        "arXiv 2412.19437, eq. 12-16 and section 4.2",
    ),
    Claim(
        "L22",
        "An expert fires with a weight proportional to its relevance.",
        "imprecise",
        "The weight multiplies the expert's output, that much is so. As a measure of what the token would "
        "lose without the expert it is good on average and poor for a single token.",
        "arXiv 1701.06538, eq. 1 for the weight; the experiment of this lesson for the rest",
    ),
    Claim(
        "L25",
        "The router's softmax needs care with number formats.",
        "correct",
        "In bf16 a logit of 128.5 becomes 128, which takes its probability among eleven from 0.142 to 0.091. "
        "Routers compute in fp32. Switch diverged in bf16 and trained with an fp32 router.",
        "arXiv 2202.08906, footnote 7; arXiv 2101.03961, table 2",
    ),
    Claim(
        "L83",
        "The experts that are not chosen contribute nothing.",
        "correct",
        "Nothing to this token's output, to the last bit. They do take part in a softmax over all E, through "
        "their logits.",
        "arXiv 1701.06538, eq. 1-5",
    ),
    Claim(
        "L117",
        "A typical layer has 64 experts, of which 2 are chosen.",
        "imprecise",
        "Fine as a picture: 2,016 possible pairs. Models with 64 experts choose more, such as 8 in OLMoE, "
        "and that makes 4.4 billion sets.",
        "arXiv 2409.02060, table 1",
    ),
)

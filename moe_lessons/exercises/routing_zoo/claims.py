"""The claims that lesson 06 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L24",
        "Adding noise to the router is another way to balance.",
        "imprecise",
        "It lets other experts be tried, and in the 2017 layer it makes an estimate of the load "
        "differentiable. By itself it hardly balances: in our toy MaxVio is 0.93 without and 0.91 with it. "
        "That layer had two balancing losses besides.",
        "arXiv 1701.06538, section 2.1 and appendix A; arXiv 2101.03961, fig. 15 (jitter); the zoo's table",
    ),
    Claim(
        "L60",
        "Balancing by bias avoids tuning entirely.",
        "imprecise",
        "It has a knob, the step. Perplexity hardly depends on it between 1e-4 and 1e-2 (9.51, 9.50, "
        "9.51), balance does. DeepSeek-V3 also kept a small loss (alpha = 1e-4) and set the step to 0 for "
        "the end of training.",
        "arXiv 2408.15664, fig. 4; arXiv 2412.19437, section 4.2",
    ),
    Claim(
        "L61",
        "Balancing by bias builds on DeepSeek-V2.",
        "wrong",
        "DeepSeek-V2 has no bias: it uses three auxiliary losses, device-limited routing and device-level "
        "dropping of tokens.",
        "arXiv 2405.04434, sections 2.2.2 to 2.2.4",
    ),
    Claim(
        "L62",
        "The bias is added to the router's logits.",
        "imprecise",
        "In Wang et al. and DeepSeek-V3 to the scores, after the sigmoid; in Kolibri-1 to the logits. Both "
        "balance, with a step of a scale of its own. What matters is that it is added for the choice alone: "
        "in the weight it would change the layer's output and the router's gradient.",
        "arXiv 2408.15664, eq. 3; arXiv 2412.19437, eq. 16; llama.cpp, models/kolibri1.cpp; measured",
    ),
    Claim(
        "L63",
        "The bias is a moving average of each expert's utilisation.",
        "wrong",
        "It moves by a fixed step in the direction of the error after each batch, and adds these steps up. A "
        "moving average comes to rest off balance. The words are from the README of EPLB, another tool.",
        "arXiv 2408.15664, algorithm 1; deepseek-ai/EPLB, README",
    ),
    Claim(
        "L64",
        "DeepSeek-V3 uses it at scale, with a small sequence-wise loss besides.",
        "correct",
        "Step 0.001 for 14.3 trillion tokens and 0 for the rest; the loss has alpha = 0.0001.",
        "arXiv 2412.19437, sections 2.1.2 and 4.2",
    ),
    Claim(
        "L65",
        "The bias is better because no balancing gradient interferes with the task's.",
        "imprecise",
        "Part of it. In V3's own test a balancing loss over the whole batch does as well as the bias, and a "
        "loss over each sequence does worse: what matters more is the *scope* over which load must be even.",
        "arXiv 2412.19437, section 4.5.3",
    ),
    Claim(
        "L66",
        "The bias must come from past batches, never from the one that it routes.",
        "correct",
        "Otherwise later tokens have a say in where earlier ones go.",
        "arXiv 2408.15664, section 3",
    ),
    Claim(
        "L75",
        "Top-1 routing is the cheapest, and it cannot combine experts.",
        "correct",
        "Switch uses it; Llama-4 has revived it beside a shared expert. ST-MoE found a small gain from "
        "top-2.",
        "arXiv 2101.03961, section 2.1; arXiv 2202.08906",
    ),
    Claim(
        "L76",
        "Top-2 is the standard.",
        "outdated",
        "It was for GShard and Mixtral. Most models since 2024 choose more.",
        "the source of each preset",
    ),
    Claim(
        "L77",
        "Shazeer et al. used top-2 for regularisation.",
        "wrong",
        "They used k = 4, or k = 2 at each of two levels, and k = 2 flat in one model. The reason they "
        "give for k > 1 is that the gate then has a gradient that is not zero.",
        "arXiv 1701.06538, section 2.1, appendices C.1 and E",
    ),
    Claim(
        "L78",
        "Expert choice is a soft routing.",
        "wrong",
        "It is hard: a token is with an expert or not. Soft is Soft MoE, where every expert works on "
        "mixtures of all tokens.",
        "arXiv 2202.09368, section 3; arXiv 2308.00951, section 2.1",
    ),
    Claim(
        "L79",
        "Expert choice balances perfectly and needs to see the batch.",
        "correct",
        "Not said: a token gets anything from no expert to all of them. OLMoE found it 20 % faster than "
        "dropless token choice, and worse.",
        "arXiv 2202.09368, section 3; arXiv 2409.02060, section 4.1.4",
    ),
    Claim(
        "L80",
        "Expert choice lets a language model see the future.",
        "correct",
        "Its authors say so. Wang et al. bound the leak: more than K log2((1 - R) / R) bits per token and "
        "layer, 50 bits over 9 layers with 2 of 16 experts.",
        "arXiv 2202.09368, section 6; arXiv 2408.15664, section 5.2",
    ),
    Claim(
        "L129",
        "Exercise of an explainer: keep a moving average of utilisation and add it to the logits as a bias.",
        "wrong",
        "An average instead of a sum of steps, not scaled up, balances next to nothing; and there is no word "
        "that the weight must not see it. That it goes on the logits is no fault. The exercise of this "
        "lesson asks for the published rule.",
        "arXiv 2408.15664, algorithm 1 and eq. 3; measured here",
    ),
    Claim(
        "L137",
        "Recent research balances with less explicit pressure.",
        "correct",
        "Loss-free biases, biases from quantiles that need no step size, gates of ReLUs whose sparsity is "
        "regulated.",
        "arXiv 2408.15664; kexue.fm/archives/11619; arXiv 2412.14711",
    ),
)

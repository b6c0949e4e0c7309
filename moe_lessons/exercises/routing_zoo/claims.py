"""The claims that lesson 06 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L24",
        "Adding noise to the router is another way to balance.",
        "correct",
        "It is in the 2017 layer: Gaussian noise of a learned size, in training only. It lets other "
        "experts be tried and makes an estimate of the load differentiable. That layer also had two "
        "balancing losses; in our toy noise alone does not even out the load.",
        "arXiv 1701.06538, section 2.1 and appendix A; arXiv 2101.03961, fig. 15 (jitter)",
    ),
    Claim(
        "L44",
        "Routing solves a linear assignment problem with capacity C = k T / N.",
        "imprecise",
        "A useful ideal. BASE solves it literally. Token choice does not; but with the right bias per "
        "expert, the price of its places, each token's own choice is the optimal assignment.",
        "arXiv 2103.16716; arXiv 2202.09368, section 3.3",
    ),
    Claim(
        "L45",
        "Without capacity limits the best assignment sends all tokens to the single best expert.",
        "wrong",
        "It sends each token to its own best expert. Collapse comes from training's feedback, not from the "
        "optimum of the assignment.",
        "the loads of unlimited assignments in this lesson",
    ),
    Claim(
        "L46",
        "There is a tension between each token's best expert and an even assignment.",
        "correct",
        "Every step towards balance costs score. The curve is flat at first: the first half of the "
        "imbalance costs much less to remove than the second.",
        "the curve of score against MaxVio in this lesson",
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
        "wrong",
        "To the scores, after the sigmoid, and for the choice alone. In the weight it would change the "
        "layer's output and the router's gradient.",
        "arXiv 2408.15664, eq. 3; arXiv 2412.19437, eq. 16",
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
        "Three things are wrong with it: the average instead of a sum of steps, the logits instead of the "
        "scores, and no word that the weight must not see it. The exercise of this lesson asks for the "
        "published rule.",
        "arXiv 2408.15664, algorithm 1 and eq. 3",
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

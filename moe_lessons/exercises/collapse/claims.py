"""The claims that lesson 04 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L67",
        "The rich get richer: an expert that is chosen more learns more, and is chosen more because of it.",
        "correct",
        "An expert with a head start, the router untouched, ends far ahead in our toy. In the very first "
        "steps the sign is the other way: an untrained expert makes its token worse, and is pushed away.",
        "arXiv 1701.06538, section 4; arXiv 2409.02060, figure 10",
    ),
    Claim(
        "L68",
        "The standard remedy is an auxiliary loss; expert choice, noise and a selection bias are others.",
        "imprecise",
        "In our small language model the loss and the bias hold every layer near 8 of 8, and expert choice "
        "is even by construction. Noise alone leaves lesson 06's toy as uneven as it was, and the z-loss, "
        "which is often named with them, balances nothing.",
        "arXiv 2101.03961, eq. 4; arXiv 2408.15664; results of benchmarks/collapse.py and routing_zoo.py",
    ),
    Claim(
        "L69",
        "Without balancing, one or two experts end up with all the tokens.",
        "contested",
        "OLMoE saw it with 8 experts. Shazeer, with 256, did not: CV 3.01 is about 25 effective experts. In "
        "our language model one layer does it and the other does not.",
        "arXiv 2409.02060, figure 10; arXiv 1701.06538, table 6",
    ),
    Claim(
        "L70",
        "Collapse happens deterministically whenever nothing balances the router.",
        "wrong",
        "It is a tendency that depends on the data, the initial router, K and the gate. With K = 2 and "
        "tokens that have nothing in common the load evens out by itself.",
        "16 seeds in each setting of this lesson",
    ),
    Claim(
        "L71",
        "Experts that receive no tokens get no gradient and become dead.",
        "correct",
        "Exactly zero, with hard top-k. They are not frozen, though: Adam goes on by momentum, AdamW then "
        "shrinks them. And the router's softmax still moves their router rows.",
        "arXiv 1711.05101, algorithm 2; the experiments of this lesson",
    ),
    Claim(
        "L72",
        "The parameters of unused experts drift; some production systems reset dead experts.",
        "imprecise",
        "They shrink, or stay exactly as they are: that depends on the optimizer, and on whether the code "
        "hands it a zero or nothing. We know no published account of a production system that resets them.",
        "the experiments of this lesson; no primary source found for the second part",
    ),
    Claim(
        "L73",
        "Some balancing mechanism is essential.",
        "imprecise",
        "Mostly, for token choice in pre-training. A hash router needs none and is about as even as its "
        "text. In fine-tuning the loss can be left out: ST-MoE and OLMoE did as well or better without.",
        "arXiv 2106.04426; arXiv 2202.08906, table 5; arXiv 2409.02060, table 7",
    ),
    Claim(
        "L74",
        "Ignore the routing loss and training collapses.",
        "imprecise",
        "The load may collapse; training goes on. Our collapsed language model learns all the same and ends "
        "some hundredths of a bit per byte behind.",
        "results of benchmarks/collapse.py, five seeds",
    ),
)

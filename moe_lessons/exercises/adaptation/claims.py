"""The claims that lesson 13 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L125",
        "Mixtures of Experts are harder to fine-tune than dense models; on small data they overfit.",
        "contested",
        "It depends on the amount. On 6 kB the sparse model of this lesson gains less than the dense one, "
        "and more if its experts are frozen; on 200 kB all of it is best left to train. ST-MoE reports the "
        "same two outcomes.",
        "the runs of this lesson; arXiv 2202.08906, section 4 and figure 3",
    ),
    Claim(
        "L126",
        "Mixtures of Experts allow larger models within a fixed amount of compute.",
        "correct",
        "Parameters and work for a token are counted apart. A dense model cut into groups of experts has "
        "more than one and a half times the parameters, and uses hardly more of them for a token.",
        "the counts of this lesson; arXiv 2101.03961, section 1",
    ),
)

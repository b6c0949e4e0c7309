"""The claims that lesson 11 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L131",
        "DeepSeek showed that 64 fine-grained experts beat 8 coarse ones at equal compute.",
        "imprecise",
        "DeepSeekMoE cut 16 experts into 32 and 64, one of them shared; 8, 32 and 64 are OLMoE's. And it is "
        "no law: in the toy finer is better in every seed where tokens need several skills at once, and "
        "worse where they need one.",
        "arXiv 2401.06066, fig. 3; arXiv 2409.02060, section 4.1.2; benchmarks/granularity.py",
    ),
    Claim(
        "L81",
        "A shared expert keeps a baseline capacity for all tokens.",
        "imprecise",
        "It is there for what all tokens have in common. Where that is nearly everything it lowers the error "
        "in every seed; where nothing is common it raises it. A baseline would help everywhere.",
        "arXiv 2401.06066, section 3.2; the models of this lesson",
    ),
    Claim(
        "L82",
        "Shared experts improve the model: switching one off makes the loss jump.",
        "contested",
        "DeepSeekMoE finds a gain, OLMoE a small loss; Qwen3 leaves them out, Ling recommends exactly one. "
        "The jump proves nothing: it is as large in a model that is worse for having the shared expert.",
        "arXiv 2401.06066, fig. 3 and section 4.5; arXiv 2409.02060, section 4.1.3; arXiv 2507.17702, "
        "section 4.1.3",
    ),
    Claim(
        "L132",
        "Hierarchical MoE, with routers of routers, is just emerging.",
        "wrong",
        "It is older than the sparse layer: Jordan and Jacobs, 1994. Shazeer et al. used two levels in 2017, "
        "with up to 131,072 experts. Group-limited routing is what is left of it.",
        "arXiv 1701.06538, appendix B and table 8",
    ),
    Claim(
        "L130",
        "The trend goes to more and smaller experts.",
        "correct",
        "Among models whose configuration the counter has, experts a layer went from 8 to hundreds, and "
        "experts became narrower than the model.",
        "the catalogue of moe_lessons.accounting",
    ),
    Claim(
        "L34",
        "Quality scales with total parameters, cost with active ones.",
        "contested",
        "The published laws do not even agree on the direction: by Clark's the gain from more experts "
        "shrinks as models grow, by Ling's it grows with the budget. And all were measured in a narrow "
        "range.",
        "arXiv 2202.01169; arXiv 2507.17702; arXiv 2507.20534, section 2.3",
    ),
)

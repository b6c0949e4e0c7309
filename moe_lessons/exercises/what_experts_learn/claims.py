"""The claims that lesson 12 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        id="L12",
        said=(
            "You do not need every parameter for every token: the part that knows Python rests while the "
            "model reads French."
        ),
        verdict="contested",
        truth=(
            "The first half holds: in a dense model of our text a quarter of the hidden units does for a "
            "token, if it is that token's own quarter. The second does not: no unit rests in one kind of "
            "text and works in another, and a quarter fixed for a kind of text costs much. Routers of "
            "published models split by tokens and syntax rather than by subjects."
        ),
        source="computed here; arXiv 2401.04088, section 5; arXiv 2402.01739 (OpenMoE)",
    ),
    Claim(
        id="L57",
        said="The load is balanced over a batch.",
        verdict="imprecise",
        truth=(
            "Over a batch, or within each sequence: with the same loss the second leaves experts less to "
            "tell about the kind of text, also beyond what the token gives away."
        ),
        source="arXiv 2412.19437, section 4.5.3",
    ),
    Claim(
        id="L84",
        said="Experts specialise by themselves: one in code, one in mathematics, one in a language.",
        verdict="contested",
        truth=(
            "It depends on the measure. In our models a few experts are missed by one kind of text several "
            "times as much as by another, and yet an expert tells many times as much about the letter as "
            "about the kind of text. Published findings differ in the same way: OLMoE and DeepSeek-V3 see "
            "domains, Mixtral sees none, OpenMoE mostly the token id."
        ),
        source=(
            "for: arXiv 2409.02060, section 5.3; arXiv 2412.19437, figure 9. Against: arXiv 2401.04088, "
            "section 5; arXiv 2402.01739"
        ),
    ),
    Claim(
        id="L85",
        said="Experts learn nothing that can be interpreted; they overlap and are interchangeable.",
        verdict="contested",
        truth=(
            "Two questions in one. Another seed finds other experts: two models agree on less than 60 % of "
            "the tokens. But inside one model they cannot be exchanged: renumbered experts cost more than a "
            "bit per byte."
        ),
        source="computed here; arXiv 2401.04088, section 5 and table 5",
    ),
    Claim(
        id="L86",
        said="DeepSeek-V3 finds specialised experts because of its shared and its many small experts.",
        verdict="imprecise",
        truth=(
            "Its report gives another reason, balance over the batch instead of each sequence. Here that "
            "alone makes a difference, with eight experts and none of them shared."
        ),
        source="arXiv 2412.19437, section 4.5.3",
    ),
    Claim(
        id="L87",
        said="Specialisation comes purely from optimising the router.",
        verdict="imprecise",
        truth=(
            "A good part is there before the first step: the random router of the first layer already makes "
            "far more of the final choices than chance would, in every seed."
        ),
        source="computed here; arXiv 2409.02060, section 5.1 (saturation)",
    ),
)

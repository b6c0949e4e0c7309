"""What lesson 10 settles: claims, and what is true."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        id="L7",
        said="A transformer layer is attention, add and norm, feed-forward, add and norm.",
        verdict="imprecise",
        truth=(
            "That is post-norm, as in the first transformer and in Switch's drawing. Mixtral and most recent "
            "models are pre-norm: each half reads a normalised stream and adds to the raw one."
        ),
        source="arXiv 2101.03961, figure 2; arXiv 2002.04745; transformers, models/mixtral (decoder layer)",
    ),
    Claim(
        id="L10",
        said="A MoE layer's output is the weighted sum of the outputs of the k chosen experts.",
        verdict="correct",
        truth="Recomputed for every token of a trained layer, from its ids, weights and experts.",
        source="arXiv 2401.04088, section 2.1",
    ),
    Claim(
        id="L49",
        said="The balancing loss can be taken over the tokens of all layers together.",
        verdict="wrong",
        truth=(
            "Pooled, it is at its balanced value while every layer has collapsed on experts of its own. Take "
            "it per layer and sum."
        ),
        source="transformers issue #28255; arXiv 2101.03961, section 2.2 (one loss per Switch layer)",
    ),
    Claim(
        id="L54",
        said="The balancing loss has a weight of the order of 0.01, as in Switch and GShard.",
        verdict="imprecise",
        truth=(
            "0.01 is Switch's choice, out of 0.1 to 0.00001 that it tried; GShard's paper gives no value. "
            "Published weights differ by a factor of hundreds, and so do the normalisations they multiply."
        ),
        source="arXiv 2101.03961, section 2.2; arXiv 2006.16668, section 2.2; arXiv 2412.19437, section 4.2",
    ),
    Claim(
        id="L57",
        said="The load is balanced over a batch.",
        verdict="imprecise",
        truth=(
            "Over which tokens it is to be even decides what experts can become. In our language model, "
            "balance inside each window leaves a fraction of what experts tell about the kind of text when "
            "balance is over the batch, at the same quality."
        ),
        source="arXiv 2412.19437, section 4.5.3; proposed for large batches in arXiv 2501.11873",
    ),
    Claim(
        id="L84",
        said="Experts specialise by themselves: one in code, one in mathematics, one in a language.",
        verdict="contested",
        truth=(
            "Published findings disagree: OLMoE and DeepSeek-V3 see domains, Mixtral no pattern by topic, "
            "OpenMoE mostly the token id; in ST-MoE experts of the encoder do specialise (in kinds of "
            "words, punctuation, names) and those of the decoder hardly. In our model the expert tells "
            "much about the byte and little about the domain, though clearly more than chance."
        ),
        source=(
            "for: arXiv 2409.02060, section 5.3; arXiv 2412.19437, figure 9; arXiv 2202.08906, section 7.1 "
            "(encoder). Against: arXiv 2401.04088, section 5; arXiv 2402.01739 (OpenMoE); arXiv 2202.08906, "
            "section 7.2 (decoder, languages)"
        ),
    ),
    Claim(
        id="L85",
        said="Experts learn nothing that can be interpreted; a token meets the same experts in any domain.",
        verdict="contested",
        truth=(
            "Mixtral's authors see no pattern by topic, and yet neighbours there often share an expert: 24 "
            "to 28 % at layer 15, where chance gives 12.5 %. Ours share one more often than shuffled tokens "
            "do, and the domain shows above chance. OLMoE finds strong specialisation."
        ),
        source="arXiv 2401.04088, section 5 and table 5; arXiv 2409.02060, section 5.3",
    ),
    Claim(
        id="L86",
        said="DeepSeek-V3 finds specialised experts because of its shared and its many small experts.",
        verdict="imprecise",
        truth=(
            "Its report gives another reason: balance over the batch, not within each sequence. Here that "
            "alone makes a difference, without any shared expert."
        ),
        source="arXiv 2412.19437, section 4.5.3",
    ),
    Claim(
        id="L87",
        said="Specialisation comes purely from optimising the router.",
        verdict="imprecise",
        truth=(
            "A router with random weights already sends bytes to experts of their own, and the scope of the "
            "balancing loss decides what is added. Data and initial weights count too."
        ),
        source="arXiv 2412.19437, section 4.5.3; arXiv 2409.02060, section 5.3 (upcycled or from scratch)",
    ),
    Claim(
        id="L121",
        said="At equal FLOPs per token, Mixture-of-Experts models beat dense ones.",
        verdict="correct",
        truth=(
            "In published comparisons, of larger models after longer training. What our own comparison shows "
            "is printed above as it came out."
        ),
        source="arXiv 2101.03961, table 1; arXiv 2401.06066, table 1",
    ),
    Claim(
        id="L122",
        said="At small scale a dense model is simpler and competitive.",
        verdict="contested",
        truth=(
            "In our short runs it is. Krajewski et al. find MoE consistently ahead, with a gap that grows "
            "with the budget; how large it is at a given budget follows from their fit."
        ),
        source="arXiv 2402.07871, abstract and section 6.3; computed here, for short runs",
    ),
)

"""What lesson 10 asks and settles: predictions, quizzes, claims."""

from moe_lessons.exercises.spec import Choice, Claim, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="10.p_initial_loss",
        question="The weights are random and nothing is trained. How many bits does the model need per byte?",
        options=("none: 0", "about 1", "8 or a little more", "far more than 8"),
        truth=2,
        because=(
            "Small random weights give small logits, so all 256 bytes are about equally likely, and "
            "`log2(256)` is 8; the scatter of the logits costs a little more. Far more than 8 would mean: "
            "sure of itself and wrong."
        ),
    ),
    Prediction(
        id="10.p_live_run",
        question="After the short run, which baselines does the model beat on held-out text?",
        options=("neither", "the unigram only", "the unigram and the bigram", "both, and the compressor too"),
        truth=2,
        because=(
            "It needs fewer bits than both tables of counts: it sees more than one byte back. The "
            "compressor copies long repeats word for word, and a short run does not reach it."
        ),
    ),
    Prediction(
        id="10.p_causal",
        question="We change the byte at position 100 of 128. At which positions do the logits change?",
        options=("at 100 only", "at 100 and later", "at 100 and earlier", "everywhere"),
        truth=1,
        because=(
            "Attention is masked, and a top-k router looks at one token at a time. So nothing flows back."
        ),
    ),
)

QUIZZES = (
    Quiz(
        id="10.nats",
        question=(
            "A byte-level model reports a held-out cross entropy of 1.5 nats. How many bits per byte is "
            "that? (Two decimals.)"
        ),
        answer=2.1640,
        rtol=0.005,
        feedback="1.5 / ln 2. A nat is about 1.44 bits, so the number in bits is the larger one.",
    ),
    Quiz(
        id="10.which_number",
        question="A run prints several numbers. Which one may you compare with the bigram baseline?",
        choices=(
            Choice(
                "the value that `backward()` was called on",
                "That holds the router losses too, which are about balance and not about text.",
            ),
            Choice(
                "the cross entropy on the current training batch",
                "The model is being fitted to that text; the baseline is measured on held-out text.",
            ),
            Choice(
                "the cross entropy on held-out text, in bits per byte",
                "Same text, same unit, no router losses in it.",
                right=True,
            ),
        ),
    ),
    Quiz(
        id="10.top_1",
        question="You retrain this model with K = 1 in place of 2. What happens to its parameter counts?",
        choices=(
            Choice(
                "total and active both shrink",
                "All E experts are still there, waiting for other tokens: the total stays.",
            ),
            Choice(
                "active shrinks, total stays",
                "A token passes one expert per layer less, and no expert is removed.",
                right=True,
            ),
            Choice("active halves, total stays", "Attention, embedding and head are active for every token."),
        ),
    ),
)

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
)

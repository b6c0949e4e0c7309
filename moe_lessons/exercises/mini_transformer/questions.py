"""What lesson 10 asks: predictions and quizzes."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

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
        options=(
            "none of the three",
            "the unigram only",
            "the unigram and the bigram",
            "all three, the compressor too",
        ),
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
    Prediction(
        id="10.p_dense",
        question=(
            "80 steps on the same text. Who predicts held-out bytes better: our small MoE model, or a dense "
            "one with as many active parameters?"
        ),
        options=(
            "the MoE model, by more than 0.15 bits",
            "neither by more than 0.15 bits",
            "the dense one, by more than 0.15 bits",
        ),
        truth=1,
        because=(
            "In so short a run each expert has seen a quarter of the tokens that the dense network has. What "
            "the additional parameters could hold has not been learned yet."
        ),
    ),
    Prediction(
        id="10.p_information",
        question="What does the choice of an expert tell most about, in our model of three kinds of text?",
        options=(
            "which kind of text it is",
            "which byte the token is",
            "where in the window it stands",
            "nothing: the balancing loss has made all experts alike",
        ),
        truth=1,
        because=(
            "By far the byte. Even a router with random weights gives much of it away. The kind of text "
            "comes a long way behind, and the position hardly shows."
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
    Quiz(
        id="10.chance",
        question=(
            "A report gives 0.05 bits of mutual information between expert and position and calls the "
            "experts position-sensitive. What do you ask first?"
        ),
        choices=(
            Choice(
                "how many experts there are",
                "That bounds the number from above. The question is whether it is above nothing.",
            ),
            Choice(
                "what the same sample gives after the positions are shuffled",
                "A finite sample is above 0 by chance alone; with few tokens and many positions 0.05 is "
                "nothing.",
                right=True,
            ),
            Choice(
                "whether the logarithm was natural",
                "That would change 0.05 into 0.07 and settle nothing.",
            ),
        ),
    ),
    Quiz(
        id="10.equal",
        question=(
            "A MoE model is better than a dense one with as many active parameters. Which sentence follows?"
        ),
        choices=(
            Choice(
                "It is the better choice for a phone with little memory.",
                "It stores several times as much. At equal memory its rival is dense and of its total size.",
            ),
            Choice(
                "It makes better use of a training FLOP, for this many tokens.",
                "Equal active parameters are about equal FLOPs, and nothing else was held equal.",
                right=True,
            ),
            Choice(
                "It trains faster.",
                "FLOPs are not seconds: routing, smaller products and memory traffic cost time too.",
            ),
        ),
    ),
)

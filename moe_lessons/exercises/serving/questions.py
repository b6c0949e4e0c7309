"""Predictions and quiz questions of lesson 15."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "15.coverage",
        "A layer has 256 experts, and each token takes 8. How many users have to decode together until a "
        "step reads 90 % of the experts, if all choose independently?",
        ("29: 29 times 8 is 90 % of 256.", "73", "256, one for each expert."),
        1,
        "Users share experts, and the last ones are slow to come: (1 - 8/256)^B is left out, a tenth at 73.",
    ),
    Prediction(
        "15.phase",
        "Mixtral in bf16. How many floating-point operations does it make for each byte it reads, for one "
        "token of one user, and for a prompt of 2,048 tokens?",
        ("About 1, both times.", "About 1, and about 570.", "About 270, both times.", "About 1, and 2,048."),
        1,
        "A token uses each weight that it reads, two bytes, for two operations. A prompt uses it for many "
        "tokens: 2,048 · 2/8 for an expert.",
    ),
    Prediction(
        "15.batching",
        "The same experiment with DeepSeek-V3, 8 of 256 experts. By continuous batching in 32 slots it "
        "becomes",
        ("1.9 times as fast, too.", "about 1.5 times as fast.", "hardly any faster."),
        2,
        "Its half-empty steps are cheap: fewer users touch fewer experts. Idle slots had wasted little.",
    ),
    Prediction(
        "15.cache",
        "Half of the experts fit. Which finds more of a text's experts at hand: LRU, or simply the 16 that "
        "were most popular in other text of the same kind?",
        (
            "LRU, clearly: it follows the text.",
            "The fixed set is about as good as LRU, or better.",
            "The fixed set, but on any other kind of text as well.",
        ),
        1,
        "Popularity is stronger than recency in a router's choices. But it belongs to a kind of text: on "
        "another one the fixed set is worse than LRU.",
    ),
    Prediction(
        "15.prefetch",
        "The next layer's router reads the stream before this layer's experts have added to it, and names 4 "
        "of 32. How many of the 4 that will really be chosen are among them?",
        ("One in eight, as by chance.", "About a fifth.", "40 to 65 %.", "Nearly all."),
        2,
        "A layer adds to the stream and does not turn it round.",
    ),
    Prediction(
        "15.bits",
        "Three bits on average: four for the busier half of the experts and two for the other, or three for "
        "all. Which loses less?",
        (
            "The mixture: it puts the bits where the tokens are.",
            "About equal.",
            "Three for all.",
        ),
        2,
        "Going from 3 to 2 bits costs far more than going from 3 to 4 gains, and the busier half has only "
        "six tenths of the load.",
    ),
    Prediction(
        "15.draft",
        "For one user of our model three bytes are guessed and checked in one step. How many experts of a "
        "layer are read for each byte that comes out, against 4 without a draft (English)?",
        ("About 1.5: one check for nearly three bytes.", "About 2.5.", "4 or more."),
        2,
        "Drafted tokens choose experts of their own, and those of the rejected ones are read in vain.",
    ),
    Prediction(
        "15.share",
        "Sixteen users. Each byte keeps its best 2 experts, and its third and fourth come from what the "
        "batch loads anyway. About a third fewer experts are read. What does it cost?",
        ("Nothing at all.", "A few hundredths of a bit per byte.", "Half a bit per byte."),
        1,
        "The best two are kept, and among the many that are loaded anyway there is mostly a good third and "
        "fourth.",
    ),
)

QUIZZES = (
    Quiz(
        "15.q_two",
        "E = 8, K = 2. Two users decode together, independently and evenly. How many experts of a layer does "
        "the step read on average?",
        answer=3.5,
        rtol=0.005,
        feedback="8 (1 - (1 - 2/8)²) = 8 · 7/16 = 3.5: with one of four chances a token's expert is taken "
        "already.",
    ),
    Quiz(
        "15.q_bits",
        "int4 with groups of 32 and a 16-bit scale each. How many bits does a weight take in all?",
        answer=4.5,
        rtol=0.005,
        feedback="4 + 16/32 = 4.5. Groups of 128 would take 4.125, and one large weight would then spoil 127 "
        "others.",
    ),
    Quiz(
        "15.q_prefill",
        "Half of the experts fit into fast memory. A prompt of 4,096 tokens is read. How does an LRU cache "
        "help?",
        (
            Choice(
                "As much as in decoding: half of the experts are there.",
                "For the first few tokens. But all of them come at once, and together they want all experts.",
            ),
            Choice(
                "Hardly: a prompt wants all experts of each layer anyway.",
                "Each expert is loaded once and used for hundreds of tokens; then loading it is cheap for "
                "each token.",
                right=True,
            ),
            Choice(
                "More than in decoding: neighbours share experts.",
                "They do, and with 4,096 of them hardly any expert is left that nobody wants.",
            ),
        ),
    ),
    Quiz(
        "15.q_draft",
        "Which draft reads no expert at all, for its guesses?",
        (
            Choice("The model with K = 1.", "It reads one expert in each layer, for each guess."),
            Choice("The model's first two layers.", "Those have experts, K of them for each guess."),
            Choice(
                "A table of what followed the last four tokens.",
                "It looks up counts. Its guesses still bring experts when they are *checked*.",
                right=True,
            ),
        ),
    ),
    Quiz(
        "15.q_company",
        "A server fills up choices with what the batch loads anyway. Your test sends the same prompt twice "
        "and compares the answers. What happens?",
        (
            Choice(
                "They are equal: at temperature 0 nothing is drawn.",
                "Nothing is drawn, but the experts depend on who else was in the batch.",
            ),
            Choice(
                "They may differ, if others asked something else the second time.",
                "The answer has become a function of strangers' texts.",
                right=True,
            ),
            Choice(
                "They differ always.",
                "With the same company, or none, they are equal. That makes such a failure hard to find.",
            ),
        ),
    ),
)

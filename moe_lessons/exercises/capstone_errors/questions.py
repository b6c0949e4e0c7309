"""Predictions, quiz questions and claims of lesson 17."""

from moe_lessons.exercises.spec import Choice, Claim, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "17.read",
        "A layer has 512 experts, and each token chooses 4. 256 users get a token in the same step. How many "
        "of the layer's experts must be read?",
        ("4", "About 250", "About 440", "All 512"),
        2,
        "A given expert is left out by one token with probability 508/512, by 256 tokens with that to the "
        "power of 256, which is 13 %. The others are read.",
    ),
    Prediction(
        "17.worth",
        "A model has 256 narrow experts, 8 of them for a token, and about 20 times as many parameters as "
        "active ones. As how many times its active size does it act, by the law that the simulator uses?",
        ("Once: what is not active does not count", "About twice", "Six or seven times", "About 20 times"),
        2,
        "Neither the active nor the total parameters say what a model is worth; the law lies in between, "
        "nearer to the active ones.",
    ),
    Prediction(
        "17.dense",
        "For which of these budgets is a dense model the best that the search finds?",
        (
            "The phone: 4 GB",
            "One 24 GB card",
            "Long documents: the memory is full of caches",
            "Little text: 20 billion tokens",
        ),
        3,
        "Plenty of compute for little text: then there is nothing to save. Little memory alone does not "
        "do it: a phone's best design has many small experts in few bits.",
    ),
    Prediction(
        "17.binds",
        "Long documents: 24 users with 65,536 tokens each on one GPU of 80 GB. The best design uses all of "
        "the compute, nearly all of the memory, and less than half of the time and of the text. Twice as "
        "much of what would lower the loss most?",
        ("Compute", "Text", "Memory", "Time"),
        2,
        "With more memory a larger model fits. With more compute the same one could be trained longer, which "
        "brings little by now.",
    ),
    Prediction(
        "17.correct",
        "Of the claims that lessons 00 to 16 settled, how many were simply correct?",
        ("Under a fifth", "About two fifths", "About two thirds", "Nearly all"),
        1,
        "Explainers are neither reliable nor worthless. Most of what is not correct is not plainly wrong "
        "either: it leaves out for which model it holds.",
    ),
    Prediction(
        "17.doubt",
        "Of twelve sentences (4 right, 5 wrong, 2 that depend on something, 1 that nobody can settle) you "
        "know half for certain. A point for each verdict, and one less for each right sentence that is "
        "called anything else. What do you say to the rest, for most points?",
        ('"wrong"', '"depends"', '"right"', "It makes no difference"),
        2,
        '"Wrong" would be true most often, and costs a point besides where the sentence is right.',
    ),
    Prediction(
        "17.onehot",
        "1,000 tokens, 128 experts. How many experts get something to do?",
        ("128", "64", "2", "1"),
        2,
        "A mask has two values. `one_hot` takes them for two classes.",
    ),
)

QUIZZES = (
    Quiz(
        "17.q_range",
        "A search over all whole numbers comes back with 100,000 experts, one a token, and a wonderful loss. "
        "What has it found?",
        (
            Choice(
                "A design that nobody has dared to try",
                "It may be one. The number beside it says nothing about that: no training is behind it.",
            ),
            Choice(
                "A place where the law has no data",
                "A search maximises what it is given, errors included, and far from the data the error is "
                "the largest part.",
                right=True,
            ),
            Choice(
                "A bug in the search", "It did what it was asked to do. What was asked was the wrong thing."
            ),
        ),
    ),
    Quiz(
        "17.q_close",
        "Two designs fit a budget. The simulator gives one a loss that is lower by 0.1 %. What do you know?",
        (
            Choice(
                "The first one is better, if only a little",
                "Four laws, fitted on other data and put together: nobody has shown them to be right to a "
                "tenth of a per cent.",
            ),
            Choice(
                "That these laws cannot tell them apart",
                "Choose by what they do not know: kernels, balance, what is simpler to serve.",
                right=True,
            ),
            Choice(
                "That the second one is better",
                "Nothing speaks for that either.",
            ),
        ),
    ),
    Quiz(
        "17.q_settle",
        "“The largest closed model has 16 experts.” Which of these would settle it?",
        (
            Choice(
                "Twenty pages that say so",
                "Lesson 16 counted such pages: they copied one another's slip.",
            ),
            Choice(
                "Its speed at several batch sizes",
                "Hardware, format and batch enter a speed as well, and none of them is known.",
            ),
            Choice(
                "Its weights, or a report of those who built it",
                "Nothing else has a number of experts in it.",
                right=True,
            ),
            Choice(
                "That its price fits the number",
                "A price fits many numbers.",
            ),
        ),
    ),
)

CLAIMS = (
    Claim(
        "L126",
        "A Mixture of Experts lets one have a larger model for a fixed budget of compute.",
        "correct",
        "By the published laws, where compute or the time of a step is short. In this lesson's eight "
        "budgets the best design found has experts in all but one; with much compute for little text it is "
        "dense.",
        "arXiv 2507.17702; arXiv 2203.15556; the search of this lesson",
    ),
)

"""Predictions and quiz questions of lesson 06."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "06.average",
        "Sixteen experts, some far more popular than others. Each has a bias, added to its sigmoid scores: "
        "0.1 times a moving average of how far its load is below the mean, as a fraction of the mean. "
        "After 500 batches, how even is the load?",
        (
            "As even as chance allows.",
            "Better than at the start, but clearly uneven, and it stays so.",
            "It swings: the favourite changes from batch to batch.",
        ),
        1,
        "Were the load even, the average would be zero, and with it the bias, and the load would be uneven "
        "again. It rests in between. A rule that adds up its steps has no such trouble.",
    ),
    Prediction(
        "06.last_token",
        "Expert choice, 32 tokens, 8 experts, two experts per token on average. You replace the last token "
        "and nothing else. What share of the 31 tokens before it get other experts?",
        ("None.", "About one in ten.", "About half.", "All of them."),
        1,
        "The new token pushes others out of the experts that want it, and leaves places where the old one "
        "was. Each such place goes to another token, and most of those stand earlier in the text.",
    ),
    Prediction(
        "06.alone",
        "In a toy, expert choice ends with a smaller error than any learned router that looks at one token "
        "at a time. Then the trained model has to decide about each token by itself, as a model must that "
        "writes text. What is left of the advantage?",
        (
            "All of it.",
            "About half.",
            "Nothing that can be told from zero.",
        ),
        2,
        "The experts were trained on the tokens that they chose from a batch. Alone, a token takes its own "
        "favourites, and the experts meet tokens that they would not have taken.",
    ),
    Prediction(
        "06.race",
        "Four copies of one model train: without balancing, with an auxiliary loss (alpha = 1), with a "
        "selection bias (step 0.001), with expert choice. The loss and the bias end equally even. Which copy "
        "has the largest error?",
        (
            "The one without balancing.",
            "The one with the auxiliary loss.",
            "The one with the bias.",
            "The one with expert choice.",
        ),
        1,
        "The loss pulls at the router in every step, also where the task would have it elsewhere. The bias "
        "changes who is chosen and adds no gradient. But look at alpha = 0.1 before you write the loss off.",
    ),
)

QUIZZES = (
    Quiz(
        "06.q_constant",
        "You add 5 to every token's logit for expert 2 and run Sinkhorn again. What happens to the plan?",
        (
            Choice(
                "Expert 2 gets more of every token.",
                "That is what a softmax over the experts would do. Here expert 2's column is scaled to T / E "
                "in every round.",
            ),
            Choice(
                "Nothing.",
                "Scaling a column removes whatever is common to it. What a balanced plan cannot see is "
                "exactly what a selection bias adds.",
                right=True,
            ),
            Choice(
                "It no longer converges.",
                "Scaling takes the constant out in the first round. Only `exp` without logarithms might "
                "overflow.",
            ),
        ),
    ),
    Quiz(
        "06.q_bits",
        "By the bound of Wang et al., how many bits per token can one layer leak with 64 experts of which "
        "8 are chosen by expert choice? (K log2((1 - R) / R), with R = K / E)",
        answer=22.46,
        rtol=0.01,
        feedback="R is 1/8, so (1 - R) / R is 7, and 8 log2 7 is 22.46 bits.",
    ),
    Quiz(
        "06.q_high",
        "A team finds that its experts swing: expert 3 gets twice its share in one batch and nothing in the "
        "next. The scores are sigmoids, the bias moves by 0.1 per batch. What do you advise?",
        (
            Choice(
                "A smaller step.",
                "A step of 0.1 carries an expert past most of its rivals at once. The price of a small step "
                "is time: V3 used 0.001.",
                right=True,
            ),
            Choice(
                "An auxiliary loss on top.",
                "It would push against the swing with a gradient, and the cause would still be there.",
            ),
            Choice(
                "To put the bias into the weights as well.",
                "Then the output would swing along with the choice.",
            ),
        ),
    ),
    Quiz(
        "06.q_decoder",
        "Which of these may a model use that writes text from left to right, exactly as it was trained?",
        (
            Choice(
                "Expert choice over a chunk of 512 tokens.",
                "Within the chunk earlier tokens learn about later ones, and when it writes there are no "
                "later ones yet.",
            ),
            Choice(
                "Sigmoid top-k with a bias updated after every batch.",
                "The bias comes from the past, and each token decides by its own scores.",
                right=True,
            ),
            Choice(
                "BASE layers, because the assignment is optimal.",
                "Optimal for the batch as a whole: one more token can change everybody's place. That is why "
                "its code takes the token's own best in evaluation.",
            ),
        ),
    ),
)

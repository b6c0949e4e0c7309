"""Predictions and quiz questions of lesson 04."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "04.race",
        "Eight experts, each token goes to one, and nothing balances them. The tokens have much in "
        "common. The router starts nearly even: 6.7 effective experts. How many are left after 200 "
        "steps, in the median of 16 runs?",
        (
            "About 8: training evens it out.",
            "About 6: it stays as it was.",
            "About 3.",
            "Exactly 1.",
        ),
        2,
        "The runs end lower than they began, and no two alike. One expert left alone is the exception.",
    ),
    Prediction(
        "04.head_start",
        "Expert 0 is trained alone on all tokens for 100 steps. The router is not touched, so at the end "
        "of it expert 0 would still be chosen by about one token in ten. Then normal training begins, "
        "for 150 steps. Where does its share end, in the median of 16 runs?",
        (
            "About one in ten, as the router says.",
            "Near zero: the others have more to learn.",
            "More than a quarter.",
        ),
        2,
        "The router learns from what the experts do. A better expert lowers the loss where it is chosen, "
        "so its logit rises there, and for all tokens that look alike.",
    ),
    Prediction(
        "04.language",
        "Now a small language model with two layers, on real text: K = 1, eight experts, no balancing "
        "loss. Which of its layers collapse to fewer than 3 effective experts?",
        ("Neither.", "Only the first.", "Only the second.", "Both."),
        1,
        "The first layer reads little more than the byte itself, and within some dozen steps one expert "
        "has nearly all of it. The second keeps about four.",
    ),
    Prediction(
        "04.fate",
        "An expert's weight of 1 gets a gradient for one step, then exactly zero for 2,000 steps. The "
        "optimizer is AdamW with learning rate 0.003 and weight decay 0.1. Where is the weight then?",
        ("Still about 1.", "About 0.5.", "About 0."),
        1,
        "Every step multiplies it by 1 - 0.0003, whatever the gradient, and 0.9997 to the power of 2,000 "
        "is 0.549. What is left of the momentum takes a little more.",
    ),
    Prediction(
        "04.revive",
        "A run has collapsed to about 3 effective experts. We replace every dead expert by a copy of a "
        "busy one, with a router row beside the busy one's, and train on, still without any balancing. How "
        "many effective experts are there 150 steps later, in the median of 16 runs?",
        ("Nearly 8.", "About 5.", "About 3, as if nothing had been done."),
        2,
        "What starved them is still at work, and starves as many again. Revival helps together with a "
        "remedy.",
    ),
)

QUIZZES = (
    Quiz(
        "04.q_two_numbers",
        "A layer of 8 experts has load shares 1/2, 1/4, 1/8, 1/8, 0, 0, 0, 0. E / (1 + CV²) is 2.9. What "
        "is the other effective number, the exponential of the entropy? (Two decimals will do.)",
        answer=3.36,
        rtol=0.01,
        feedback="The entropy is 1.75 bits, and 2 to the power of 1.75 is 3.36. The number from the "
        "entropy is never the smaller of the two.",
    ),
    Quiz(
        "04.q_pooled",
        "A dashboard adds up the loads of all 32 layers and shows 8 bars of equal height. What do you know?",
        (
            Choice(
                "The model is balanced.",
                "Layer 0 may send everything to expert 0, layer 1 to expert 1, and so on. The sum is even.",
            ),
            Choice(
                "Nothing about any single layer.",
                "Each layer has a router of its own. Look at each, and at the worst one.",
                right=True,
            ),
            Choice(
                "No expert is dead.",
                "Expert 3 of layer 5 may be; expert 3 of layer 6 hides it.",
            ),
        ),
    ),
    Quiz(
        "04.q_first_step",
        "In the first step of our toy, with K = 1 and the probability as weight, the loss pushes the "
        "chosen expert's logit down for nearly every token. Why?",
        (
            Choice(
                "Top-k has no gradient, so the sign is random.",
                "The gradient comes through the weight, and its sign was the same for almost all tokens.",
            ),
            Choice(
                "An untrained expert's output is noise, and less of it is better.",
                "Its product with the gradient of the loss is positive on average: less weight, less error.",
                right=True,
            ),
            Choice(
                "The softmax pushes the largest logit down by itself.",
                "A softmax pushes nowhere; it only passes on what the loss asks for.",
            ),
        ),
    ),
    Quiz(
        "04.q_frozen",
        "Two teams use AdamW with weight decay. In both, expert 5 has had no token for a day. In team A "
        "its weights have shrunk, in team B they are the same to the last bit. What is the likely "
        "difference?",
        (
            Choice(
                "Team B's router still sends it a few tokens.",
                "Then it would move. It has had none, and it has not moved at all.",
            ),
            Choice(
                "Team A stacks all experts in one tensor; team B has a module for each and skips idle ones.",
                "A slice of a stacked tensor gets a gradient of zeros and is decayed. A skipped module "
                "has no gradient, and the optimizer passes it over.",
                right=True,
            ),
            Choice(
                "Team A uses momentum and team B does not.",
                "Momentum fades within some dozen steps. Decay goes on.",
            ),
        ),
    ),
)

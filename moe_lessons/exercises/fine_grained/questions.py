"""Predictions and quiz questions of lesson 11."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "11.cut",
        "Eight experts of 64 hidden units are cut into 64 experts of 8. Can the new layer compute "
        "exactly what the old one did?",
        (
            "No: smaller experts can do less.",
            "Yes, but its router has to be trained anew.",
            "Yes, with the old router row for each slice and a factor on the weights.",
        ),
        2,
        "An expert is a sum over its hidden units, and a sum may be cut anywhere. Slices with the same row "
        "are chosen together; the softmax gives each a G-th of the weight, and the factor takes that back.",
    ),
    Prediction(
        "11.rate",
        "One teacher, one gate, equal parameters: 8 coarse experts against 64 slices. Both are trained at a "
        "learning rate of 0.003, and again at 0.03. Which has the lower error?",
        (
            "The fine one, both times.",
            "The coarse one, both times.",
            "The fine one at 0.003, the coarse one at 0.03.",
            "The coarse one at 0.003, the fine one at 0.03.",
        ),
        2,
        "At the small rate both are far from done, and the fine one is quicker. At the better rate the "
        "coarse one arrives, and is ahead. One experiment could carry either headline.",
    ),
    Prediction(
        "11.skills",
        "Now each granularity at its own best rate. Tokens need one skill of 8 units, or four skills of 2 "
        "units at once, out of 64 units in all. Where is the finest cut better than no cut?",
        ("In both.", "Only where four are needed.", "Only where one is needed.", "In neither."),
        1,
        "A coarse expert would have to hold a *combination* of skills, and there are far more combinations "
        "than experts. Where one skill is needed, eight slices have to be found together for nothing.",
    ),
    Prediction(
        "11.shared",
        "Half of what each token needs is the same for all tokens. Eight experts, two a token, against "
        "seven, one a token, and a shared one. Equal parameters, equal work. What does the shared expert do "
        "to the error?",
        (
            "It lowers it clearly: half is common.",
            "It does not lower it.",
            "It depends on the seed: half the models are better, half worse.",
        ),
        1,
        "The common half can be learned by every routed expert along with the rest, and the router has lost "
        "a choice. The shared expert pays where nearly everything is common.",
    ),
    Prediction(
        "11.ablate",
        "A model with a shared expert, trained where *nothing* is common: it is worse than the one without. "
        "Now we switch the shared expert off. By what factor does the error grow?",
        ("It falls.", "About 1: it was no use anyway.", "About 1.5.", "More than 3."),
        3,
        "All other experts were trained beside it and count on it. That a trained part is missed says "
        "nothing about whether a model should have been given it.",
    ),
    Prediction(
        "11.by_itself",
        "Eight routed experts, two a token, no shared expert, and *no balancing loss*. Even would be 25 % of "
        "the tokens each. What does the fullest expert see after training?",
        ("About 25 %.", "About 35 %.", "40 to 80 %.", "Nearly all tokens."),
        2,
        "It becomes half a shared expert by itself: about every second token comes by. A balancing loss "
        "forbids just that.",
    ),
    Prediction(
        "11.latent",
        "Tokens of 32 numbers that vary in 8 dimensions only. Experts work in a latent of 16, 8 or 4, twice "
        "as many for each halving, so that parameters and FLOPs stay. Which are better than experts at full "
        "width?",
        ("None of them.", "16 only.", "16 and 8.", "All three: more experts are better."),
        2,
        "Down to the data's own rank the projection loses nothing, and the experts it pays for help. Below "
        "that it throws away what the task needs.",
    ),
    Prediction(
        "11.levels",
        "256 experts in 16 groups of 16. A token takes its best group, and the best expert in it. For how "
        "many tokens is there a better one among the 256, by the product of the two softmaxes? (Random "
        "logits.)",
        ("2 %", "10 %", "About 30 %", "60 %"),
        2,
        "A very good expert in the second-best group is never looked at.",
    ),
    Prediction(
        "11.budget",
        "Two groups fitted laws to hundreds of trained models. Does the best granularity grow with the "
        "compute budget?",
        ("Yes, both laws say so.", "No, by both laws.", "One law says yes, the other no."),
        2,
        "By Krajewski's law it goes from 8 to 64 with the budget; by Ling's it is about 11, whatever the "
        "budget. They define granularity differently, and only one of them charges for the router.",
    ),
)

QUIZZES = (
    Quiz(
        "11.q_factor",
        "A layer weighs its chosen experts by sigmoids that are *not* rescaled. Its experts are cut into "
        "four slices, each with the old router row. Which factor keeps the output?",
        (
            Choice(
                "4",
                "That is right where the weights share a sum. A sigmoid gives each slice the whole weight of "
                "its expert.",
            ),
            Choice(
                "1",
                "Each slice has its expert's logit, and so its expert's weight; the slices add up to the "
                "expert.",
                right=True,
            ),
            Choice(
                "1/4", "Each slice is a part of the sum, not a copy of it: nothing is counted four times."
            ),
        ),
    ),
    Quiz(
        "11.q_bits",
        "8 of 64 experts can be chosen in 4,426,165,368 ways. How many bits of choice is that, to one "
        "decimal?",
        answer=32.04,
        rtol=0.005,
        feedback="log2 of 4.4 billion is 32.0. One of 8 is 3 bits. More choices are more that *could* be "
        "told apart; whether the data asks for it is another matter.",
    ),
    Quiz(
        "11.q_evidence",
        "A report: with the shared expert removed, our model's loss goes from 1.8 to 2.4. So shared experts "
        "matter. What would you ask for?",
        (
            Choice(
                "Nothing: a third more loss speaks for itself.",
                "In this lesson it speaks just as loudly in models that are worse for their shared expert.",
            ),
            Choice(
                "The same for a routed expert.",
                "A good question, and still about a finished model: it compares two parts, not two designs.",
            ),
            Choice(
                "A second training, without a shared expert, at equal parameters and FLOPs.",
                "Only two trainings compare two designs.",
                right=True,
            ),
        ),
    ),
    Quiz(
        "11.q_range",
        "At the budget of our model, 2e11 FLOPs, Krajewski's law recommends G = 2 and predicts a loss "
        "of over 8 nats. Our tokens are bytes: a guess at random has 5.5. What now?",
        (
            Choice(
                "Take G = 2; the loss is off, but an optimum is an optimum.",
                "The optimum comes from the same curve. If that is nonsense here, so may its lowest point "
                "be.",
            ),
            Choice(
                "Do not use it here: it was fitted on 129 million to 3.7 billion parameters.",
                "Outside its range a fit says how its formula goes on, not what models do.",
                right=True,
            ),
            Choice(
                "Multiply the loss by a constant until it fits.",
                "Then it says what you have put in.",
            ),
        ),
    ),
)

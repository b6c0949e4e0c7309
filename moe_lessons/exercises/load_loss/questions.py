"""Predictions and quiz questions of lesson 05."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "05.best",
        "512 tokens, 8 experts that are alike: each token's score for each expert is drawn at random. No "
        "capacity limit. Which assignment has the highest sum of scores?",
        (
            "All tokens go to the one best expert.",
            "Every expert gets exactly 64 tokens.",
            "Each token goes to its own best expert, and the load is uneven, but not much.",
        ),
        2,
        "Without a limit nobody is in anybody's way, so each token takes its own best. Collapse is something "
        "that training does.",
    ),
    Prediction(
        "05.pooled",
        "Eight layers with eight experts. Each layer has collapsed completely, each on another expert. A "
        "code averages f and P over all layers and then computes E · sum(f · P). What does it report?",
        ("64", "8", "About 4", "1, the balanced value"),
        3,
        "Over all layers together every expert has an eighth of the tokens and an eighth of the probability. "
        "That the layers are all dead, no average shows.",
    ),
    Prediction(
        "05.minimum",
        "Two experts, one per token. When both get half of the tokens and half of the probability, "
        "E · sum(f · P) is 1. Is that the lowest value that a router can reach?",
        (
            "Yes, and only balance reaches it.",
            "Yes, but other loads reach it too.",
            "No, a router can get below 1.",
        ),
        2,
        "At loads of 75 and 25 % it can come as close to 0.875 as you like. What that takes, the explorable "
        "shows.",
    ),
    Prediction(
        "05.descend",
        "We start at such a place: 75 and 25 %, a loss of 0.90, below the balanced 1. Now gradient descent "
        "on this loss, and on nothing else. Where does the loss end?",
        (
            "It falls, towards 0.875.",
            "It stays at 0.90: the gradient is zero there.",
            "It rises to 1.",
            "It falls to 0.",
        ),
        2,
        "The gradient sees P alone and takes f for a constant. It pushes the crowd away from the full "
        "expert; the tokens change sides, f jumps, and the load ends even. An even load has a loss of 1.",
    ),
    Prediction(
        "05.scope",
        "Texts of two kinds, each with a task of its own, four experts. The same loss with the same alpha, "
        "over each text or over the whole batch. Under which do experts belong to one kind of text?",
        (
            "Under both alike.",
            "Over each text: that is the stricter rule.",
            "Over the whole batch only.",
            "Under neither.",
        ),
        2,
        "A text is of one kind. If each must use all experts evenly, every expert has to serve both kinds.",
    ),
    Prediction(
        "05.alpha",
        "A toy in which training alone leaves about 3 of 8 experts in use. We train with alpha from 0 to 10. "
        "Where is the error on the task lowest?",
        (
            "At 0: the loss only disturbs.",
            "Somewhere in between.",
            "At 10: the more even, the better.",
        ),
        1,
        "Unused experts are wasted, so some balance helps the task. At 10 the router hardly listens to the "
        "task any more.",
    ),
)

QUIZZES = (
    Quiz(
        "05.q_flat",
        "A layer's load is perfectly even. Its mean probabilities are P = (0.7, 0.1, 0.1, 0.1). What is "
        "E · sum(f · P), with f the share of routed rows?",
        answer=1.0,
        rtol=0.001,
        feedback="With f = 1/4 everywhere it is 4 · 1/4 · sum(P) = 1, whatever P is.",
    ),
    Quiz(
        "05.q_log",
        "A training log shows 8.02 as load-balancing loss. The model has 64 experts, chooses 8, and is "
        "trained with transformers. What do you conclude?",
        (
            Choice(
                "A collapse: the balanced value is 1.",
                "1 is the balanced value in Switch, Megatron and DeepSeek. transformers counts f per token, "
                "so there it is K.",
            ),
            Choice(
                "All layers are balanced: the balanced value is 8.",
                "The value fits, but it is pooled over the layers. Layers that collapse on different experts "
                "would show the same number.",
            ),
            Choice(
                "Over all layers together the load is about even. Each single layer has to be looked at.",
                "8 is the balanced value here, and the pool of layers hides what each of them does.",
                right=True,
            ),
        ),
    ),
    Quiz(
        "05.q_low",
        "Another log, Switch's normalisation, one layer, one expert per token: 0.93. Is that a bug?",
        (
            Choice(
                "Yes, the loss cannot be below 1.",
                "It can: the explorable has a whole region where it is, and your counterexample lies there.",
            ),
            Choice(
                "No. f and P are not co-sorted, so the load is uneven.",
                "With an even load the loss is exactly 1, and with co-sorted f and P at least 1. Below 1 "
                "means a crowd that hardly means it, and a minority that does.",
                right=True,
            ),
            Choice(
                "No, it means better than balanced.",
                "There is nothing better than balanced here. Below 1 the load is uneven, always.",
            ),
        ),
    ),
    Quiz(
        "05.q_K",
        "You move a training run from transformers (K = 8) to Megatron and keep alpha = 0.001. What happens "
        "to the pressure on the router?",
        (
            Choice(
                "It is the same: the formulas differ in notation only.",
                "They differ by a factor of K: the balanced values are 8 and 1.",
            ),
            Choice(
                "It falls to an eighth.",
                "The same loads give an eighth of the loss and of its gradient. alpha = 0.008 would keep it.",
                right=True,
            ),
            Choice("It grows eightfold.", "The other way: Megatron divides by K, transformers does not."),
        ),
    ),
)

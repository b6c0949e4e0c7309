"""Predictions and quiz questions of lesson 13."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "13.small_set",
        "Six kilobytes of Python, 100 steps. Held-out Python is predicted best afterwards if one trains ...",
        (
            "all weights",
            "all but the routers",
            "all but the experts",
            "the experts alone",
        ),
        2,
        "The experts learn six kilobytes by heart. What every token passes learns what holds elsewhere, too.",
    ),
    Prediction(
        "13.more_text",
        "The same with 200 kilobytes. What trains best now?",
        ("all weights", "all but the experts", "the experts alone", "It makes no difference"),
        0,
        "With text enough the experts are what there is to be trained.",
    ),
    Prediction(
        "13.drift",
        "The routers are frozen, everything else learns Python. How many of the routers' choices on the "
        "*old* text change in the second layer?",
        ("None: no router weight has moved", "About one in a hundred", "A tenth and more"),
        2,
        "The router reads the stream, and the stream has moved.",
    ),
    Prediction(
        "13.step0",
        "A dense network is copied into eight experts; the router is random, and a token takes the best "
        "two by a softmax over these two. What does the model say before any training?",
        (
            "Nonsense: the router is random",
            "Something a little worse than the dense model",
            "Exactly what the dense model says",
        ),
        2,
        "All experts are equal and the weights sum to 1, so that a random choice is as good as any.",
    ),
    Prediction(
        "13.worth",
        "300 steps more from the same dense model. Four copies of two slices, which do the same work as the "
        "dense model, end ...",
        ("far ahead of it", "about where it ends", "far behind it"),
        1,
        "At equal work it is a draw here. Whole copies, two of them for each token, are ahead: with twice "
        "the work.",
    ),
    Prediction(
        "13.strangers",
        "Some of eight experts have to go. Which is better: to prune some, or to put the mean of several in "
        "their place, unit by unit?",
        (
            "To prune, for both models",
            "To merge, for both models",
            "To prune experts from scratch, to merge upcycled ones",
            "To merge experts from scratch, to prune upcycled ones",
        ),
        2,
        "A mean needs something in common. Copies of one network have it.",
    ),
    Prediction(
        "13.student",
        "A small dense student of a sparse teacher. Which helps more: to learn from the teacher's "
        "distributions, or to begin with the teacher's attention and embeddings?",
        ("The distributions, by far", "Both about alike", "The weights, by far"),
        2,
        "The teacher's attention and embeddings are worth several times what its distributions are.",
    ),
    Prediction(
        "13.rollout",
        "The same eight layers with the same weights, in bf16 and in fp32; the routers are in fp32 in both. "
        "How many tokens get another set of experts in at least one layer?",
        ("Fewer than one in a thousand", "About one in a hundred", "About one in ten", "Nearly all"),
        2,
        "Per layer it is one to three in a hundred. But there are eight of them, and each slip moves the "
        "next router's input.",
    ),
    Prediction(
        "13.replayed",
        "The trainer uses the experts of the rollout, and computes their weights anew from its own logits. "
        "What is left of the difference between the two?",
        ("About half", "About a tenth", "As little as a dense model has"),
        2,
        "Weights depend smoothly on logits, as everything in a dense model does. The jump was in the choice.",
    ),
)

QUIZZES = (
    Quiz(
        "13.q_gate",
        "A script freezes every tensor with `gate` in its name, to keep the router of a Qwen model as it is. "
        "What does it do?",
        (
            Choice(
                "It freezes the router.",
                "It does that, too. Qwen's experts have a `gate_proj`.",
            ),
            Choice(
                "It freezes the router and a third of every expert, and nobody is told.",
                "`mlp.experts.0.gate_proj.weight` matches, and so do `shared_expert_gate` and the dense "
                "layers' `gate_proj`. The run goes on, and learns less.",
                right=True,
            ),
            Choice(
                "It stops with an error, since a frozen tensor has no gradient.",
                "A parameter without a gradient is simply skipped by the optimizer.",
            ),
        ),
    ),
    Quiz(
        "13.q_factor",
        "A dense network becomes 8 copies of 4 slices each. A token takes K = 8 of the 32 experts, by a "
        "softmax over the chosen. By what must the weights be multiplied at step 0?",
        answer=4,
        rtol=0.001,
        feedback="By 4. The eight are the slices of two copies. The two copies share the weight between "
        "them, which is a mean of equals; within a copy its four slices share what should be a sum.",
    ),
    Quiz(
        "13.q_calibration",
        "Experts are scored on a text, and the lowest are pruned. Which text?",
        (
            Choice(
                "Any: an expert is important or it is not.",
                "An expert that serves code is idle in English, and scores 0 there.",
            ),
            Choice(
                "One that looks like what the model is for: it decides whose knowledge goes.",
                "What the text does not ask for counts as nothing, and is pruned first.",
                right=True,
            ),
            Choice(
                "The text of the training, whatever the model is for.",
                "That is the safe choice where the use is not known. Where it is, other experts are needed.",
            ),
        ),
    ),
)

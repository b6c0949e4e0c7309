"""Predictions and quiz questions of lesson 01."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "01.norm",
        "Six experts, tokens spread evenly in all directions. You double the length of one expert's router "
        "vector. What happens to the share of tokens that choose it?",
        (
            "It grows, at K = 1 and at K = 4.",
            "It grows at K = 1 and shrinks at K = 4.",
            "Nothing, only directions count.",
            "It shrinks, at K = 1 and at K = 4.",
        ),
        1,
        "A longer vector makes positive logits larger and negative ones more negative. In the limit the "
        "expert wins exactly the half of the tokens that lie on its side. At K = 1 half is much; at K = 4 "
        "of 6 it is less than it had.",
    ),
    Prediction(
        "01.order",
        "One model takes the softmax over all experts, keeps the top-k and rescales them to sum to 1. "
        "Another keeps the top-k logits and takes the softmax of those. Same logits. What differs?",
        (
            "The chosen experts.",
            "The weights, because the first softmax has also seen the other experts.",
            "Nothing but rounding.",
        ),
        2,
        "The denominator of the first softmax is one number per token. Rescaling divides it out again.",
    ),
    Prediction(
        "01.ablate",
        "A trained layer gives each token four experts. Take one token. For what share of tokens does it "
        "hurt the prediction *more* to lose the expert with the smallest weight than the one with the "
        "largest?",
        (
            "Hardly any, under 5 %.",
            "About one in ten.",
            "About four in ten.",
            "About nine in ten.",
        ),
        2,
        "On average the largest weight matters most by far. For a single token the weight says little "
        "about what its expert contributes.",
    ),
)

QUIZZES = (
    Quiz(
        "01.q_k1",
        "A team trains with K = 1 and takes the softmax *after* the top-k. The experts learn, the router "
        "stays as it was drawn. Why?",
        (
            Choice(
                "Top-k has no gradient, so no router ever learns from the task loss.",
                "Top-k indeed has none. But the weight of a chosen expert normally has one, and through it "
                "routers learn. Look at what that weight is here.",
            ),
            Choice(
                "The softmax of a single number is 1, whatever the number.",
                "A constant has gradient zero. Switch keeps the probability among all E experts, and the "
                "router learns through it.",
                right=True,
            ),
            Choice(
                "The learning rate of the router is too small.",
                "No rate helps: the gradient is zero up to rounding, as the cell above shows.",
            ),
        ),
    ),
    Quiz(
        "01.q_order",
        "A checkpoint's config says: softmax over all experts, top-k, `norm_topk_prob: true` (the kept "
        "probabilities are rescaled to sum to 1). Your fast kernel takes the top-k logits first and then "
        "their softmax. May you use it?",
        (
            Choice(
                "Yes, it is the same function.",
                "The two differ by rounding only. With `norm_topk_prob: false` the answer would be no.",
                right=True,
            ),
            Choice(
                "Only if the model is fine-tuned with it afterwards.",
                "There is nothing to adapt to: the experiment found the same weights up to rounding.",
            ),
            Choice(
                "No, the model was trained with probabilities over all experts.",
                "They were rescaled to sum to 1 over the chosen k, and that removes every trace of the "
                "others.",
            ),
        ),
    ),
    Quiz(
        "01.q_bias",
        "In a router like DeepSeek-V3's the bias of expert 3 rises a little. A token had chosen experts 3 "
        "and 5 and still does. What happens to its weights?",
        (
            Choice(
                "The weight of expert 3 rises.",
                "It would if the bias leaked into the weight. The weights come from the scores without it.",
            ),
            Choice(
                "Nothing.",
                "The bias decides who is chosen. As long as the choice stays, so do the weights.",
                right=True,
            ),
            Choice(
                "Both fall, because the sum over all experts rises.",
                "The sum goes over the two chosen scores, and neither of them has changed.",
            ),
        ),
    ),
    Quiz(
        "01.q_sets",
        "How many different sets of 2 experts can a token be given out of 16?",
        answer=120,
        rtol=0.0,
        feedback="16 for the first and 15 for the second makes 240 ordered pairs. Each set is in there "
        "twice: 120, `math.comb(16, 2)`.",
    ),
)

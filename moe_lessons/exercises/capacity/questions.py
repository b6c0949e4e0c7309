"""Predictions before the experiments, and questions after them."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="07.slowest",
        question=(
            "4,096 tokens choose 8 of 64 experts each: 32,768 slots. A plain Python loop counts them one by "
            "one; a one-hot table is summed down its columns; a stable sort brings each expert's slots "
            "together. Which is the slowest on a CPU?"
        ),
        options=("The loop", "The one-hot table", "The sort"),
        truth=1,
        because=(
            "The table has 64 numbers for each slot, and 63 of them are zeros that are added up all the "
            "same. A step of the loop is slower, but there are 64 times fewer of them."
        ),
    ),
    Prediction(
        id="07.random",
        question=(
            "64 tokens, 8 experts, one choice each. The router is perfectly random: every expert is equally "
            "likely for every token. The factor is 1, so each expert has exactly its fair share of places, "
            "8. What share of the tokens is dropped, on average?"
        ),
        options=("None", "About 2 %", "About 13 %", "About 40 %"),
        truth=2,
        because=(
            "Even on average is not even in a draw. An expert that 11 tokens ask turns 3 away, and the one "
            "that only 5 ask cannot make up for it."
        ),
    ),
    Prediction(
        id="07.end",
        question=(
            "A batch of 4 sequences with 64 tokens each is laid end to end: 256 tokens, 8 experts, K = 1, "
            "factor 1. The router is perfectly random, and slots are served in order. Where are the dropped "
            "tokens?"
        ),
        options=(
            "Spread evenly: the router is random",
            "At the end of each of the four sequences",
            "Almost all in the last sequence",
        ),
        truth=2,
        because=(
            "Places run out once, towards the end of the batch. Whoever stands in the first sequence finds "
            "every expert empty."
        ),
    ),
    Prediction(
        id="07.cost",
        question=(
            "We train a small layer twice: without drops, and with factor 1, where about one token in six is "
            "dropped in every training step. Both are then evaluated *without* drops. How do the losses "
            "compare, over 16 seeds?"
        ),
        options=(
            "The one trained with drops is clearly worse, by more than 10 %",
            "The difference is below 10 %, lost in the spread of the seeds",
            "The one trained with drops is clearly better, by more than 10 %",
        ),
        truth=1,
        because=(
            "A dropped token misses one step; its expert learns from the others. What hurts is being dropped "
            "when it counts, in evaluation."
        ),
    ),
)

QUIZZES = (
    Quiz(
        id="07.q_groups",
        question=(
            "4,096 tokens in 8 groups that route on their own, 64 experts, K = 2, capacity factor 1.25. How "
            "many places has an expert for each group?"
        ),
        answer=20,
        feedback="A group has 512 tokens and 1,024 rows, 16 per expert; times 1.25 is 20.",
    ),
    Quiz(
        id="07.q_lower",
        question=(
            "At a capacity factor of 1 and a random router, which change lowers the share of dropped rows?"
        ),
        choices=(
            Choice(
                "Twice the tokens and twice the experts",
                "Tokens per expert stay the same, and so does the share.",
            ),
            Choice(
                "Twice the tokens, the same experts",
                "Loads grow by 2, their spread only by the square root of 2.",
                right=True,
            ),
            Choice(
                "The same tokens, routed in two groups",
                "Each group has half the tokens per expert: the share rises.",
            ),
        ),
    ),
    Quiz(
        id="07.q_half",
        question=(
            "K = 2 with weights 0.7 and 0.3. The first choice is dropped, the second is served. What does "
            "the layer add to the residual, as GShard has it?"
        ),
        choices=(
            Choice(
                "0.3 times the second expert's output", "The refused share is simply missing.", right=True
            ),
            Choice(
                "The second expert's output, with weight 1",
                "That is rescaling after the drop, as DeepSpeed's top-2 gate does.",
            ),
            Choice("0.7 times the token and 0.3 times the output", "The residual has the token already."),
        ),
    ),
    Quiz(
        id="07.q_causal",
        question="A decoder with K = 2 serves first choices before second ones. Why is that a problem?",
        choices=(
            Choice(
                "It drops more rows than serving in token order",
                "It drops exactly as many: a load does not depend on the order.",
            ),
            Choice(
                "A later token's first choice can push out an earlier token's second",
                "In training the earlier token thus learns something of the later one. In generation there "
                "is no later one.",
                right=True,
            ),
            Choice(
                "It cannot be computed without a loop", "Transpose the ids, and it is the same running count."
            ),
        ),
    ),
)

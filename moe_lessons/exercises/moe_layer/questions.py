"""Predictions before the experiments, and questions after them."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="02.gather",
        question=(
            "Two ways to compute the same layer. Sorted: sort the tokens by expert, run each expert once on "
            "its rows. Gather: for every token, fetch the matrices of its K experts and multiply. Both make "
            "exactly the same multiplications. How do their times compare?"
        ),
        options=(
            "About equal: the multiplications decide",
            "Gather is faster: it needs no sort",
            "Gather is many times slower",
        ),
        truth=2,
        because=(
            "It copies K experts' matrices for every token, and each copy is used once. The sorted version "
            "reads an expert's matrices once for all of its tokens."
        ),
    ),
    Prediction(
        id="02.no_inverse",
        question=(
            "The results lie sorted by expert. Someone forgets to undo the sort and adds them up two by two "
            "as they lie: the first two for token 0, the next two for token 1, and so on. What happens?"
        ),
        options=(
            "Nothing: a sum does not depend on the order of its terms",
            "An error: the shapes no longer fit",
            "No error, but most tokens get rows of other tokens",
        ),
        truth=2,
        because=(
            "The shapes fit, so nothing complains. A token is right only where its rows happen to lie in "
            "their own places."
        ),
    ),
    Prediction(
        id="02.wrong_inverse",
        question=(
            "The sort returned `order`, the slot at each position. Someone undoes it with `results[order]`. "
            "Can the output be right?"
        ),
        options=(
            "Always: the same order leads there and back",
            "For some routings",
            "Never",
        ),
        truth=1,
        because=(
            "It is right where `order` is its own inverse, as where the sort does nothing but swap pairs. So "
            "a small test may pass by luck."
        ),
    ),
    Prediction(
        id="02.weights_twice",
        question=(
            "The weights come in slot order and must be sorted like the rows. Someone sorts them twice. All "
            "results return to their own tokens. What are a token's two weights now?"
        ),
        options=(
            "Its own, in the other order",
            "Others, which still add up to 1",
            "Others, which mostly do not add up to 1",
        ),
        truth=2,
        because=(
            "They come from the slots of different tokens, and only one token's own weights are made to add "
            "up to 1."
        ),
    ),
    Prediction(
        id="02.no_minlength",
        question=(
            "`bincount` ends at the largest id that it meets, unless `minlength` asks for more. There are "
            "experts 0 to 3, and nobody chooses expert 1. Someone leaves `minlength` out. What happens?"
        ),
        options=(
            "Nothing, with this routing",
            "The rows of experts 2 and 3 reach the wrong experts",
            "An error: there are only three groups",
        ),
        truth=0,
        because=(
            "An idle expert in the middle is counted as 0. Once the last expert is idle, its count is "
            "missing: a loop over all experts finds no group for it."
        ),
    ),
    Prediction(
        id="02.gradient",
        question=(
            "One token, 8 experts, K = 2, and the weights are the two largest of a softmax over all 8. "
            "After backward, how many experts and how many rows of the router's matrix have a gradient "
            "other than zero?"
        ),
        options=(
            "2 experts and 2 rows of the router",
            "8 experts and 8 rows: the sum connects them all",
            "2 experts, but all 8 rows of the router",
        ),
        truth=2,
        because=(
            "An expert that did not run has no gradient. But its logit stands in the denominator of the "
            "softmax, so its row of the router does."
        ),
    ),
    Prediction(
        id="02.mask",
        question=(
            "A trained layer with 16 experts and K = 2. For each token we take away its best expert and let "
            "the router choose the two best of the other 15. What happens to the error (where 1 is what "
            "answering with the mean would give)?"
        ),
        options=(
            "Little: that is what the second expert is for",
            "It roughly doubles: one of two experts is gone",
            "It rises many times over, to about what the mean would give",
        ),
        truth=2,
        because=(
            "The two experts are terms of one sum, trained to be added. The third choice steps in for a "
            "term that it never learned."
        ),
    ),
)

QUIZZES = (
    Quiz(
        id="02.router_cost",
        question=(
            "Mixtral has D = 4096, F = 14336, K = 2. Its router makes E * D multiply-adds per token, its "
            "chosen experts K * 3 * D * F. At how many experts E would the router cost as much as they do?"
        ),
        answer=86016,
        feedback="E * D = K * 3 * D * F gives E = 3 * K * F = 3 * 2 * 14336 = 86016. Mixtral has 8.",
    ),
    Quiz(
        id="02.bug",
        question=(
            "A sorted layer agrees with the loop at K = 1 and differs at K = 2. Where do you look first?"
        ),
        choices=(
            Choice(
                "At how rows are written back: `out[token_ids] = rows`",
                "At K = 1 every token occurs once, so writing and adding are the same. At K = 2 the second "
                "write replaces the first.",
                right=True,
            ),
            Choice(
                "At gate and up, which may be swapped",
                "That would be wrong at K = 1 as well.",
            ),
            Choice(
                "At the sort, which may not be stable",
                "An unstable sort changes the order of rows within an expert. Each row still meets its "
                "expert.",
            ),
        ),
    ),
    Quiz(
        id="02.shape",
        question=(
            "Every FFN of a dense model becomes 8 experts of the same shape, of which each token uses 2. "
            "What happens to the FFN's weights and to its multiplications per token, the router aside?"
        ),
        choices=(
            Choice("8 times the weights, 8 times the multiplications", "Only 2 of the 8 run for a token."),
            Choice(
                "8 times the weights, 2 times the multiplications",
                "All 8 are held; 2 of them run for a token.",
                right=True,
            ),
            Choice(
                "8 times the weights, as many multiplications as before",
                "That would need K = 1.",
            ),
        ),
    ),
    Quiz(
        id="02.dead_router",
        question=(
            "K = 1, and the gate is a softmax over the chosen logit alone. What does training do to the "
            "router?"
        ),
        choices=(
            Choice(
                "It learns, only more slowly",
                "The weight is the constant 1 whatever the logits are. There is nothing to learn from.",
            ),
            Choice(
                "The task loss leaves it where it started",
                "The weight is the constant 1, so its derivative is 0. Another loss (lesson 05) or keeping "
                "the probability over all experts changes that.",
                right=True,
            ),
            Choice(
                "It learns through the experts' outputs",
                "The experts read the hidden state. Nothing in their output depends on the logits.",
            ),
        ),
    ),
)

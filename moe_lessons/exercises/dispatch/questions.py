"""Predictions before the experiments, and questions after them."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="08.trap",
        question=(
            "The loop over experts takes each expert's matrices out of the stack with `W[e]`. We go from 8 "
            "experts to 64 of the same size, with the same tokens. The gradient of W is then 8 times as "
            "large. How many times as many bytes does the backward pass allocate?"
        ),
        options=("About as many: the tokens are the same", "About 8 times", "About 50 times or more"),
        truth=2,
        because=(
            "The backward of one `W[e]` makes a gradient for all of W, zeros but for one expert, and adds it "
            "to the others. E experts, each with a tensor of size E."
        ),
    ),
    Prediction(
        id="08.bits",
        question=(
            "We give the experts other numbers: expert 3 is now called 6, and so on. Nothing else changes; "
            "each token has the same results and weights. The combine adds each sorted row to its token, "
            "with `index_add`. Does the output keep its bits?"
        ),
        options=(
            "Yes, whatever K is: a sum is a sum",
            "Yes for K = 2, no for K = 3",
            "No, already for K = 2",
        ),
        truth=1,
        because=(
            "New numbers mean another order of the sorted rows. Two numbers have the same sum in either "
            "order, but a + b + c rounds twice, and it matters which two come first."
        ),
    ),
    Prediction(
        id="08.slowest",
        question=(
            "Eight ranks share the experts, in balance. Now one rank's experts become popular and get twice "
            "the rows they had; the other seven share what is left. The number of rows is the same. How "
            "does the time of the layer change?"
        ),
        options=(
            "It stays about the same: as many rows as before",
            "It grows by about an eighth: one rank of eight does more",
            "It about doubles",
        ),
        truth=2,
        because=(
            "Everybody waits for the rank with the most rows, in the exchange and in the arithmetic. The "
            "other seven finish early and gain nothing."
        ),
    ),
)

QUIZZES = (
    Quiz(
        id="08.q_token",
        question="With K = 4, which token does slot 29 belong to?",
        answer=7,
        feedback="29 // 4 is 7. The remainder, 1, says that it is the token's second choice.",
    ),
    Quiz(
        id="08.q_ends",
        question="The ends of four experts are 4, 4, 9, 9. Which statement is right?",
        choices=(
            Choice("Expert 1 has 4 rows", "It starts at 4 and ends at 4: no rows."),
            Choice(
                "Row 4 belongs to expert 2", "Experts 0 and 1 end at 4, so 4 is the next one's.", right=True
            ),
            Choice("Row 9 belongs to expert 3", "Its range, 9 to 9, is empty; row 9 is nobody's."),
        ),
    ),
    Quiz(
        id="08.q_padding",
        question=(
            "64 experts, 32 rows each on average, and the busiest has 160. The batched product gives every "
            "expert as many rows as the busiest. How many times the necessary work is that?"
        ),
        answer=5,
        feedback="64 * 160 rows instead of 64 * 32. The factor is the largest load over the mean: 160 / 32.",
    ),
    Quiz(
        id="08.q_rows",
        question=(
            "A layer with 256 experts and K = 8 is to have 128 rows per expert on average. How many tokens "
            "must the batch have?"
        ),
        answer=4096,
        feedback="T * 8 / 256 = 128, so T = 4,096.",
    ),
    Quiz(
        id="08.q_bits",
        question=(
            "Two training runs on the same GPU, with the same seed, differ in the last bits from step 1 on. "
            "The combine is an `index_add`. What is a likely reason?"
        ),
        choices=(
            Choice(
                "The GPU rounds at random",
                "It rounds the same way every time. What varies is what it adds first.",
            ),
            Choice(
                "Its threads add rows to the same token in whatever order they get there",
                "On a GPU `index_add` uses atomic additions. A gather followed by a sum fixes the order.",
                right=True,
            ),
            Choice("The sort was stable", "A stable sort removes a source of differences."),
        ),
    ),
    Quiz(
        id="08.q_latency",
        question=(
            "Decoding on 320 GPUs, about one row for each partner in each exchange. What would help the "
            "exchange most?"
        ),
        choices=(
            Choice("Links with twice the bandwidth", "The rows hardly take any time. The messages do."),
            Choice(
                "Less time to send a message",
                "320 small messages: latency decides, which is why there are low-latency kernels.",
                right=True,
            ),
            Choice("8-bit rows instead of 16-bit ones", "Half of almost nothing."),
        ),
    ),
)

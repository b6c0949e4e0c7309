"""Predictions and quiz questions of lesson 14."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "14.grouped",
        "Rank 1 hosts experts 2 and 3. Rank 0 has sent it rows for experts 2, 2, 3, and rank 1 itself rows "
        "for 2, 3. They arrive one behind the other: 2, 2, 3, 2, 3. May it call the grouped product now?",
        ("Yes: every sender has sorted its rows.", "No: they have to be sorted once more, on this rank."),
        1,
        "Expert 2's rows lie in two places. Each sender sorts what *it* has; only the receiver can bring "
        "together what came from several.",
    ),
    Prediction(
        "14.same",
        "One process, or two that exchange rows, in fp32. How far are output and gradients apart?",
        (
            "Not a bit, except for the router's gradient, about 1e-7.",
            "About 1e-3, since sums run in another order.",
            "About 1e-7 everywhere.",
        ),
        0,
        "Where tokens are split in order, the rows of an expert stand in the same order as in one process. "
        "The router's gradient is summed in parts, so that its last bits move.",
    ),
    Prediction(
        "14.forgot",
        "Four ranks, AdamW, no clipping. We forget to divide the experts' gradients by 4. How far is the "
        "loss curve from the right one in 40 steps?",
        ("Far: 4 times the learning rate.", "A few percent.", "Not visibly: about a millionth."),
        2,
        "Adam divides each gradient by its own size, so that a constant factor cancels. SGD shows it, "
        "clipping shows it, and a test of gradients shows it at once.",
    ),
    Prediction(
        "14.drift",
        "Each rank clips by the norm that it sees: the dense part and its own experts. After 40 steps, are "
        "the dense weights, of which every rank has a copy, still the same on all ranks?",
        ("Yes: their gradient was averaged before.", "No: they are different models by then."),
        1,
        "The gradient was the same on all ranks, and then each rank multiplied it by a factor of its own.",
    ),
    Prediction(
        "14.straggler",
        "Two ranks. In each step the experts of rank 1 take 0.4 s longer than those of rank 0. In whose "
        "profile do these 0.4 s show, and where?",
        (
            "In rank 1's, under experts; rank 0 sees nothing.",
            "In rank 1's, under experts, and in rank 0's, under combine.",
            "In both, under dispatch.",
        ),
        1,
        "Rank 0 has finished and waits for what rank 1 sends back. Its profile says that the network is "
        "slow, and it is not.",
    ),
    Prediction(
        "14.early",
        "No token of rank 1 was routed anywhere, so its layer returns early, without any exchange. What "
        "happens?",
        (
            "Nothing: it has nothing to send.",
            "An error on rank 1 at once.",
            "All wait for it, until a timeout ends the run.",
        ),
        2,
        "The others wait for the zero rows that it would have sent. Worse, if it comes to the *next* layer's "
        "exchange, it gets the rows of this one.",
    ),
    Prediction(
        "14.stale",
        "Routing of a trained model, 32 experts on 8 ranks, with 8 slots for copies. The plan is made from "
        "one kind of text (English, say) and meets another (source code). Is max/mean lower than with no "
        "plan at all?",
        ("Yes: copies can only help.", "About the same.", "No: in most layers it is higher."),
        2,
        "A copy is memory for an expert that *was* hot, and packing rests on loads that have been. On "
        "another text the plan has often put two hot experts together.",
    ),
    Prediction(
        "14.nodes",
        "The same model: 32 experts on 8 nodes, 4 a token, each token on 3.4 nodes on average. Without any "
        "new training we allow a token at most 3 nodes. What does it cost, in bits per byte (of about 2)?",
        ("About 0.2, a tenth of the loss.", "About 0.05.", "0.02 at most."),
        2,
        "The fourth expert has the smallest weight, and the best of the allowed nodes is nearly as good.",
    ),
    Prediction(
        "14.overlap",
        "Decoding: the experts' time is reading weights, that of an exchange is latency. Two half batches "
        "take turns, so that one computes while the other is on the network. How much faster?",
        ("Twice.", "1.5 times.", "Not at all: as fast, or slower."),
        2,
        "Half a batch reads all of the weights, and pays the whole latency. Overlap saves only what halves "
        "with the batch.",
    ),
)

QUIZZES = (
    Quiz(
        "14.q_divide",
        "R = 2 replicas of G = 4 expert-parallel ranks, each with a mean loss over its own tokens. You have "
        "added up an expert's gradient over the ranks that hold it. By what do you divide?",
        (
            Choice(
                "2, the replicas that hold it", "All 8 losses act through it: exchanges bring the tokens."
            ),
            Choice("4, the ranks of a replica", "That would be right for one replica. There are two."),
            Choice("8, all ranks", "The loss is a mean over 8 ranks, whoever holds a weight.", right=True),
        ),
    ),
    Quiz(
        "14.q_exchanges",
        "A model with 58 MoE layers trains under expert parallelism. How many exchanges of *rows* does one "
        "step have (counts not counted)?",
        answer=232,
        rtol=0.001,
        feedback="Four for each layer: dispatch and combine forward, and the backward of each. Counts are "
        "exchanged once more for each layer, and need no backward.",
    ),
    Quiz(
        "14.q_profile",
        "In a profile of 8 ranks seven spend 40 % of a step in `combine`, and rank 5 spends 2 %. What will "
        "you look at first?",
        (
            Choice("The network: all but one are slow.", "They wait. Bytes over time would show it."),
            Choice("Rank 5's experts: how many rows, and how fast.", "It comes last to combine.", right=True),
            Choice("Rank 5's network card: it must be the best.", "It never waits, because it is last."),
        ),
    ),
    Quiz(
        "14.q_divisor",
        "A layer of 64 experts shall run on 24 ranks. What will a framework say?",
        (
            Choice("Nothing: some ranks get 3 experts, others 2.", "Shards are of equal size everywhere."),
            Choice(
                "It refuses; 16 or 32 would do, or 8 copies more for 72 slots.",
                "72 slots are 3 on each rank: copies make the number divisible.",
                right=True,
            ),
            Choice("It pads with 8 experts of zeros.", "One could; none of the frameworks here does."),
        ),
    ),
    Quiz(
        "14.q_nodes",
        "DeepSeek-V3 lets a token go to at most 4 of 8 nodes, with 8 experts a token. What does the limit "
        "lower?",
        (
            Choice("The rows that an expert computes.", "Each token still has 8 experts."),
            Choice(
                "The copies of a token that cross between nodes: 4 instead of up to 8.",
                "A token is sent once to each node, and handed on inside, where links are faster.",
                right=True,
            ),
            Choice("The number of exchanges.", "There are still a dispatch and a combine for each layer."),
        ),
    ),
)

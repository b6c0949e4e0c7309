"""Predictions before the experiments, and questions after them."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="03.ratio",
        question=(
            "Mixtral-8x7B is Mistral-7B with eight FFNs in each layer in place of one, of which a token "
            "uses two. How many times as many parameters does the whole model have, and how many times as "
            "many active ones?"
        ),
        options=(
            "8 times the parameters, 2 times the active ones",
            "8 times the parameters, fewer than 2 times the active ones",
            "Fewer than 8 times, and fewer than 2 times",
        ),
        truth=2,
        because=(
            "Only the FFNs are multiplied. Embedding, head, attention and norms are there once in both "
            "models, and pull both ratios towards 1."
        ),
    ),
    Prediction(
        id="03.cache",
        question=(
            "Mixtral touches 12.9 billion parameters for a token, 25.8 GB in bf16. Its KV cache grows with "
            "every token of the context. From what context on does the cache of a single text weigh more "
            "than these active weights? And with MLA, which keeps 576 numbers per layer and token where "
            "Mixtral keeps 2,048?"
        ),
        options=(
            "About 20,000 tokens; with MLA about 70,000",
            "About 200,000 tokens; with MLA about 700,000",
            "About 200,000 tokens; with MLA about 2 million",
            "About 2 million tokens; with MLA about 7 million",
        ),
        truth=1,
        because=(
            "It keeps 128 KiB per token, and 25.8 GB hold that 196,532 times. With 576 numbers for 2,048 it "
            "takes 3.6 times as many tokens."
        ),
    ),
    Prediction(
        id="03.batch",
        question=(
            "A layer of DeepSeek-V3 has 256 experts, and each token uses 8. Now 64 tokens of different texts "
            "are decoded together; let each choose at random. About how many of the 256 experts have to be "
            "read from memory?"
        ),
        options=("8: that is K", "About 64", "About 130", "More than 200"),
        truth=3,
        because=(
            "64 tokens make 512 choices. Some coincide, but an expert is missed by all 64 with probability "
            "(1 - 8/256)^64, about 13 %."
        ),
    ),
)

QUIZZES = (
    Quiz(
        id="03.q_double",
        question=(
            "You double E and leave everything else: K, the size of an expert, the dtype, the context. What "
            "doubles, or nearly so, in a model that is mostly experts?"
        ),
        choices=(
            Choice("FLOPs per token", "Each token still passes K experts. Only the router grows."),
            Choice(
                "Memory for weights, gradients and optimizer state",
                "All experts are held and trained, whether a token uses them or not.",
                right=True,
            ),
            Choice("The KV cache", "Attention does not know about experts."),
        ),
    ),
    Quiz(
        id="03.q_gb",
        question=(
            "Mixtral's 46.7 billion parameters are stored at 4.25 bits each, scales included. How many GB "
            "(10⁹ bytes) is that?"
        ),
        answer=24.8,
        rtol=0.01,
        feedback="46.7 * 4.25 / 8 = 24.8 GB. The same bytes are 23.1 GiB.",
    ),
    Quiz(
        id="03.q_convention",
        question=(
            "Two model cards say '3.6 B active'. One counts the input embedding, the other does not; both "
            "have a vocabulary of 200,000 and D = 2,880. Which model costs more FLOPs per token?"
        ),
        choices=(
            Choice("The one that counts it", "Of its 3.6 B, 0.58 B are looked up and multiply nothing."),
            Choice(
                "The one that leaves it out",
                "All of its 3.6 B multiply the token; of the other's, 200,000 * 2,880 = 0.58 B do not.",
                right=True,
            ),
            Choice("Both the same", "The same words, two meanings: 0.58 B of difference."),
        ),
    ),
    Quiz(
        id="03.q_decide",
        question=(
            "One GPU, its memory full with a dense 13 B model. You serve 64 chats at once and want better "
            "answers. A colleague proposes an MoE with 13 B active of 47 B. What do you say first?"
        ),
        choices=(
            Choice(
                "Same active size, so same speed: yes",
                "At 64 tokens a step nearly all experts are read, 3.6 times the bytes.",
            ),
            Choice(
                "It does not fit; with more memory, a decode step would also take longer than now",
                "All 47 B must be held, and a batch of 64 reads nearly all of them. It may still be worth "
                "it.",
                right=True,
            ),
            Choice(
                "MoE is for training only",
                "It is served widely. The question is what it costs here.",
            ),
        ),
    ),
)

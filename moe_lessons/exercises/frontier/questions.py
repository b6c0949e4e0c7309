"""Predictions and quiz questions of lesson 16."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        "16.coins",
        "We train a mixture of depths on fair coin flips, to predict the next one, and measure its loss on "
        "new flips. Which result would prove that something is wrong?",
        ("1.05 bits a flip", "1.00 bits a flip", "0.95 bits a flip"),
        2,
        "Nothing that knows only the past gets below the entropy of a fair coin, one bit. Above it a model "
        "is merely bad.",
    ),
    Prediction(
        "16.text",
        "Now on text. A changed last byte changes earlier outputs in most trials: the leak is there. How "
        "much worse does the model become if it must decide without the future?",
        ("By half a bit per byte or more", "By 0.1 to 0.5 bits", "By less than 0.05 bits"),
        2,
        "The next byte of text depends on so much else that the message from the future is hardly worth "
        "reading. That is why nobody notices.",
    ),
    Prediction(
        "16.hard",
        "Null experts let a token use between 0 and 4 real ones. A model is trained with them. Do the bytes "
        "that it finds hard use more real experts?",
        ("Yes, clearly", "No, or hardly", "They use fewer, clearly"),
        1,
        "How many are used differs a lot from byte to byte, and is hardly tied to the byte's loss. Nothing "
        "in the training asks for it.",
    ),
    Prediction(
        "16.keys",
        "A router scores 1,048,576 experts and wants the best 16, exactly. Their keys are made of two tables "
        "of 1,024 halves. How many inner products does it need?",
        (
            "1,048,576, of the full width",
            "32,768, of half the width",
            "2,048, of half the width",
            "1,024, of half the width, and then some are missed",
        ),
        2,
        "The best pairs are made of the best halves: 1,024 products for each table, and then 256 sums.",
    ),
    Prediction(
        "16.state",
        "A state of 16 x 32 numbers, the sum of key times value, gives back 16 random pairs with 95 % of the "
        "answers right. How many are right with 64 pairs?",
        ("95 %", "About 75 %", "About half", "None"),
        2,
        "All pairs lie on top of each other in the same 512 numbers. A cache keeps each by itself, and "
        "grows.",
    ),
    Prediction(
        "16.both",
        "Jamba, Qwen3-Next, Qwen3.5, Nemotron 3: which of these have states *and* attention *and* experts?",
        ("None: states replace attention", "One", "Two", "All four"),
        3,
        "States and experts save different things, and a model can have both.",
    ),
    Prediction(
        "16.numbers",
        "Two rumours about GPT-4: “1.8T parameters, 280B active”, and “8 experts, 2 of them for each token”. "
        "Can both be right?",
        ("Yes", "Yes, if the numbers are coarsely rounded", "No"),
        2,
        "Two experts of eight alone would be more than 400 billion.",
    ),
    Prediction(
        "16.sources",
        "Three pages say that a token costs GPT-4 “560 TFLOPs”. With the parameters that they give it would "
        "be 0.56. How many sources have we found?",
        ("Three", "One"),
        1,
        "Who computes it anew does not make the same slip. They have it from each other, or from the same "
        "place.",
    ),
)

QUIZZES = (
    Quiz(
        "16.q_leak",
        "Which of these lets a position's output depend on *later* positions of its own sequence?",
        (
            Choice(
                "Top-k over the experts, for each token by itself",
                "Each token looks at its own logits only.",
            ),
            Choice(
                "A threshold on each position's own score",
                "The score is the position's own. The share that passes then varies, which is another "
                "matter.",
            ),
            Choice(
                "Experts that choose the k best tokens of the sequence",
                "Whether a token is among the best depends on who comes later. A mixture of depths does the "
                "same with one block in place of many experts.",
                right=True,
            ),
            Choice(
                "A bias that is set from the *last* batch's load",
                "It knows other texts, and nothing of this one.",
            ),
        ),
    ),
    Quiz(
        "16.q_prefetch",
        "Rows of an n-gram table can be fetched from slow memory while earlier layers still compute. Experts "
        "cannot. Why?",
        (
            Choice(
                "Rows are smaller than experts.",
                "They are. But even a small thing can only be fetched once one knows which.",
            ),
            Choice(
                "Which rows are needed is known from the tokens alone; which expert, only at its layer.",
                "The address is a hash of the text. A router reads the stream, which the layers before must "
                "have finished.",
                right=True,
            ),
            Choice(
                "Tables are read by attention.",
                "A hash finds the row; no other position is looked at.",
            ),
        ),
    ),
    Quiz(
        "16.q_56",
        "“8x7B” is read as 56 billion in all and 14 billion active. What would be left for attention, "
        "embeddings and routers?",
        (
            Choice(
                "Nothing at all",
                "x = (56 - 14) / 6 = 7, and 14 - 2 · 7 = 0. Mixtral has 46.7 and 12.9, and 1.6 left.",
                right=True,
            ),
            Choice(
                "About 1.6 billion, as in Mixtral", "That follows from 46.7 and 12.9, not from these two."
            ),
            Choice("7 billion", "That is one expert."),
        ),
    ),
    Quiz(
        "16.q_jamba",
        "Jamba has 32 layers, attention in one of eight, and experts in every other. How many of its layers "
        "have attention?",
        answer=4,
        rtol=0.001,
        feedback="32 / 8. In `layer_string` they are the four stars; the other 28 mixers are states.",
    ),
)

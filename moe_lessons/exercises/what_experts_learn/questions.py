"""What lesson 12 asks: predictions and quizzes."""

from moe_lessons.exercises.spec import Choice, Prediction, Quiz

PREDICTIONS = (
    Prediction(
        id="12.blind",
        question="Which strip shows the choices of the trained router?",
        options=("A", "B", "C", "D"),
        truth=2,
        because=(
            "B, the most orderly one, is the same router before any training. D is a table drawn at random. "
            "A has the trained choices, mixed up among equal letters. Order does not tell them apart."
        ),
    ),
    Prediction(
        id="12.chance",
        question=(
            "Four experts with loads of 40, 30, 20 and 10 %, every token dealt out blindly. How often do two "
            "neighbours have the same expert?"
        ),
        options=("in 25 % of all cases, one in four", "in 30 %", "in 40 %, the largest load"),
        truth=1,
        because="Both are expert 0 in 16 % of all cases, both expert 1 in 9 %, then 4 % and 1 %.",
    ),
    Prediction(
        id="12.locality_learned",
        question="Do neighbours share an expert more often before training, or after it?",
        options=(
            "after it: that text hangs together has to be learned",
            "equally often: it is a matter of the loads",
            "before it",
        ),
        truth=2,
        because=(
            "In every model and layer. Random weights send similar vectors the same way, and neighbours have "
            "similar vectors. Training makes the router tell them apart."
        ),
    ),
    Prediction(
        id="12.saturation_start",
        question=(
            "The untrained router of layer 0: which share of the final choices does it have already? (Chance "
            "is about a quarter.)"
        ),
        options=("about a quarter, as chance has it", "between a third and a half", "more than 60 %"),
        truth=1,
        because=(
            "It is well above chance before the first step. The first router reads little more than the "
            "letter, and training keeps many of the cuts that random weights made."
        ),
    ),
    Prediction(
        id="12.seeds_agree",
        question=(
            "Two models, same text, another seed, long training. Their experts are matched as well as can "
            "be. On which share of the bytes do they agree?"
        ),
        options=("on about 14 %, like shuffled ones", "on about 40 %", "on 80 % and more"),
        truth=1,
        because="Far more than chance, and not half. Nearly all of it goes through the letter.",
    ),
    Prediction(
        id="12.damage",
        question="Which of these changes ruins the trained model?",
        options=(
            "asking all eight experts instead of two",
            "the experts of another byte of the same letter",
            "the same choices, but with the experts renumbered",
            "none of them: the experts have learned much the same",
        ),
        truth=2,
        because=(
            "With the wrong experts it loses more than a bit per byte. The first two changes cost a fraction "
            "of that."
        ),
    ),
    Prediction(
        id="12.hard_tokens",
        question=(
            "On the hardest quarter of all bytes, sorted by what the model paid for them: which share of the "
            "other pairs does the router's own pair beat?"
        ),
        options=(
            "about half: no better than luck",
            "as many as everywhere else",
            "more: on hard bytes a good choice counts",
        ),
        truth=0,
        because=(
            "It looks like luck, and that is the trap: bytes on which the pair happened to do badly were "
            "sorted into this quarter because of it. Sorted otherwise, the router does better."
        ),
    ),
    Prediction(
        id="12.directions",
        question=(
            "Of 64 directions each MoE layer of a trained model may read only 32, those with most of the "
            "squared length. Nothing is trained anew. What does the next byte cost more?"
        ),
        options=("less than 0.05 bits", "about 0.4 bits", "more than 1 bit: the model is ruined"),
        truth=0,
        because=(
            "0.01 to 0.03 bits. What the layers read is spread unevenly: half of the directions hold nearly "
            "all of what is used. Half of them drawn at random cost more than ten times as much."
        ),
    ),
    Prediction(
        id="12.idle_units",
        question=(
            "A dense model of the same text. Of 128 hidden units, how many rest while it reads English, and "
            "work while it reads code?"
        ),
        options=("none", "about ten", "about a third"),
        truth=0,
        because="Not one, in either layer of any of the models. Units rest for tokens, not for subjects.",
    ),
)

QUIZZES = (
    Quiz(
        id="12.two_halves",
        question=(
            "A router sends half of all tokens to expert 0 and a quarter each to experts 1 and 2. How often "
            "do two neighbours have the same expert by chance? (Three decimals.)"
        ),
        answer=0.375,
        rtol=0.004,
        feedback="1/4 + 1/16 + 1/16 = 3/8. One third would be the chance of an even load.",
    ),
    Quiz(
        id="12.sixty_percent",
        question=(
            "“After 1 % of training the router has 60 % of its final choices: routing is settled early.” "
            "What do you ask first?"
        ),
        choices=(
            Choice(
                "how it looks with more experts",
                "That would be interesting. But you do not know yet what 60 % is to be compared with.",
            ),
            Choice(
                "what it was at 0 %, and by chance at these loads",
                "Both can be a good part of the 60 %.",
                right=True,
            ),
            Choice(
                "whether 60 % is significant",
                "With many tokens every difference is. The question is: a difference from what?",
            ),
        ),
    ),
    Quiz(
        id="12.code_expert",
        question="Without expert 4 a model loses six times as much on code as on English. What follows?",
        choices=(
            Choice(
                "Expert 4 has learned to program.",
                "It may have learned brackets and underscores. Take the letter out, then ask again.",
            ),
            Choice(
                "This model cannot replace expert 4 for code, as it stands.",
                "That is what an intervention shows: this model, this expert, now.",
                right=True,
            ),
            Choice(
                "Another training of the same recipe will have an expert of code too.",
                "It might, and it might not: nobody looked at another seed.",
            ),
        ),
    ),
    Quiz(
        id="12.hindsight",
        question=(
            "For each token the best of all 28 pairs, picked afterwards, saves 0.8 bits over the router's "
            "own. How much could a better router save?"
        ),
        choices=(
            Choice(
                "0.8 bits", "It would have to know the next token. The minimum of 28 numbers is luck too."
            ),
            Choice("nothing", "The number does not say that either."),
            Choice(
                "somewhere from 0 to 0.8 bits: this does not tell",
                "A minimum over many tries is an upper bound, and a loose one.",
                right=True,
            ),
        ),
    ),
)

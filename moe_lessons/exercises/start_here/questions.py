"""The questions of lesson 00: three predictions, four on what to know first, one at the end."""

from moe_lessons.exercises.spec import Choice, Claim, Prediction, Quiz

_DOCS = "https://docs.pytorch.org"
_BOOK = "https://d2l.ai"

PREDICTIONS = (
    Prediction(
        "00.shared",
        "The picture below shows layer 0, the first of three. There `function` and `value` have no expert in "
        "common. Which two words share both of their experts in the last layer?",
        ("`function` and `value`", "`The` and `the`", "`a` and `and`"),
        truth=0,
        because=(
            "In layer 2 `The` and `the` have one expert in common, `a` and `and` none. Nobody told the "
            "router which words are alike, and each layer has a router of its own."
        ),
    ),
    Prediction(
        "00.same_word",
        "The word `function` stands at three places in the sentence. The layer sees one word at a time and "
        "only its letters. To how many different pairs of experts do the three go?",
        ("one pair, the same for all three", "two pairs", "three pairs, one for each place"),
        truth=0,
        because=(
            "Equal inputs give equal logits, and equal logits the same experts. In a trained model the "
            "router reads a hidden state that also holds the context, so the same word may go elsewhere "
            "(lesson 01)."
        ),
    ),
    Prediction(
        "00.other_seed",
        "Now we throw the random numbers away and draw new ones. Same sentence, same code. How many of a "
        "word's two experts keep their number, on average?",
        ("nearly all: the words decide", "about half of them", "about a quarter of them", "none"),
        truth=2,
        because=(
            "Two of eight experts, drawn without any regard for the first draw, contain a given expert in 2 "
            "of 8 cases: a quarter. The expert numbers of an untrained layer mean nothing."
        ),
    ),
)

QUIZZES = (
    Quiz(
        "00.softmax",
        "Softmax. Two logits are 0 and ln 3 (about 1.0986). Which weight does softmax give the second one?",
        answer=0.75,
        feedback=(
            "Softmax takes exp of each logit and divides by the sum: exp(0) = 1 and exp(ln 3) = 3, so 3 / 4. "
            f"If this was new, read first: [softmax regression]({_BOOK}/chapter_linear-classification/"
            f"softmax-regression.html) in the free book Dive into Deep Learning, and "
            f"[torch.nn.functional.softmax]({_DOCS}/docs/stable/generated/torch.nn.functional.softmax.html)."
        ),
    ),
    Quiz(
        "00.topk",
        "Top-k. What are the `indices` of `torch.tensor([0.1, 2.0, -1.0, 0.7]).topk(2)`?",
        (
            Choice(
                "2.0 and 0.7",
                "These are the `values`. The indices say where they stand. Read first: "
                f"[torch.topk]({_DOCS}/docs/stable/generated/torch.topk.html).",
            ),
            Choice(
                "1 and 3",
                "The largest, 2.0, stands at place 1, the next, 0.7, at place 3. Places count from 0.",
                right=True,
            ),
            Choice(
                "2 and 4",
                "Right elements, but places count from 0. Read first: "
                f"[torch.topk]({_DOCS}/docs/stable/generated/torch.topk.html).",
            ),
            Choice(
                "2 and 0",
                "These are the two smallest; `topk` takes the largest unless told otherwise. Read first: "
                f"[torch.topk]({_DOCS}/docs/stable/generated/torch.topk.html).",
            ),
        ),
    ),
    Quiz(
        "00.backward",
        "Backward. `a` is 1 and `b` is 2, both with `requires_grad=True`. After `y = 3 * a + b * b` and "
        "`y.backward()`, what is `b.grad`?",
        (
            Choice(
                "7",
                "That is `y` itself. `b.grad` says how fast `y` grows with `b`. Read first: [automatic "
                f"differentiation]({_BOOK}/chapter_preliminaries/autograd.html) in Dive into Deep Learning.",
            ),
            Choice(
                "2",
                "That is `b`. The derivative of b * b is 2 b. Read first: [automatic "
                f"differentiation]({_BOOK}/chapter_preliminaries/autograd.html) in Dive into Deep Learning.",
            ),
            Choice("4", "The derivative of b * b with respect to b is 2 b, and `b` is 2.", right=True),
            Choice(
                "3",
                "That is `a.grad`. Each variable has a gradient of its own. Read first: [automatic "
                f"differentiation]({_BOOK}/chapter_preliminaries/autograd.html) in Dive into Deep Learning.",
            ),
        ),
    ),
    Quiz(
        "00.cross_entropy",
        "Cross-entropy. A model gives each of four answers the probability 1/4. What is its loss, in nats "
        "(the unit of the natural logarithm)?",
        answer=1.3862943611198906,
        feedback=(
            "The loss is minus the logarithm of the probability of the right answer: -ln(1/4) = ln 4 = "
            "1.386. "
            f"If this was new, read first: [softmax regression]({_BOOK}/chapter_linear-classification/"
            "softmax-regression.html) in Dive into Deep Learning (its part on the loss), and "
            f"[torch.nn.functional.cross_entropy]({_DOCS}/docs/stable/generated/"
            "torch.nn.functional.cross_entropy.html)."
        ),
    ),
    Quiz(
        "00.strip",
        "You see a routing strip of a model you do not know: `the` and `this` share expert 4. What may you "
        "conclude from this picture alone?",
        (
            Choice(
                "Expert 4 has learned function words",
                "Two words are two words. An untrained router shows such pairs as well, as you saw.",
            ),
            Choice(
                "The router scored expert 4 among the best for both words",
                "That is all the picture holds. What an expert learned takes many tokens and a comparison "
                "with chance; lesson 10 does it.",
                right=True,
            ),
            Choice(
                "The model is untrained", "A trained one shows pairs like this too; the picture cannot tell."
            ),
        ),
    ),
)

CLAIMS = (
    Claim(
        "L14",
        "What to know first: transformers, attention, softmax and its stability, backpropagation, matrix "
        "calculus, Jacobian and Hessian, activation functions, convex optimisation.",
        "wrong",
        "It is a list of what papers on the subject draw on. To begin, far less will do: the training step "
        "of a Mixture-of-Experts layer needs four things beside arithmetic, softmax, top-k, "
        "backpropagation and cross-entropy. They are all that this course takes for granted.",
        "the computation graph of a training step, in this lesson",
    ),
)

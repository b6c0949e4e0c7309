"""Exercise 03.flops_per_token: what one token costs, in inference and in training."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

Costs = tuple[int, int]


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Mixtral at two contexts, OLMoE, and a drawn model."""
    rows = [
        ("Mixtral-8x7B at position 1", (46702792704, 12879925248, 131072000, 32, 32, 128, 1)),
        ("Mixtral-8x7B at position 32768", (46702792704, 12879925248, 131072000, 32, 32, 128, 32768)),
        ("OLMoE-1B-7B at position 4096", (6919161856, 1282017280, 103022592, 16, 16, 128, 4096)),
    ]
    embedding = int(rng.integers(10**6, 10**7))
    active = embedding * int(rng.integers(9, 20)) + int(rng.integers(1000))
    n_layers = int(rng.integers(5, 20))
    drawn = (
        5 * active + 3,
        active,
        embedding,
        n_layers + (n_layers == 12),  # as many layers as heads would make two mistakes look alike
        12,
        80,
        int(rng.integers(900, 9000)),
    )
    rows.append(("a drawn model", drawn))
    names = ("total", "active", "embedding", "n_layers", "n_heads", "d_head", "n_positions")
    return [Case(name, dict(zip(names, row, strict=True))) for name, row in rows]


def _attention(n_layers: int, n_heads: int, d_head: int, n_positions: int) -> int:
    return 2 * n_layers * 2 * n_heads * d_head * n_positions


def reference(
    total: int, active: int, embedding: int, n_layers: int, n_heads: int, d_head: int, n_positions: int
) -> Costs:
    """Two FLOPs per multiply-add, with weights and with positions; training is three times that."""
    forward = 2 * (active - embedding) + _attention(n_layers, n_heads, d_head, n_positions)
    return forward, 3 * forward


def _both(forward: int) -> Costs:
    return forward, 3 * forward


FLOPS_PER_TOKEN = Exercise(
    id="03.flops_per_token",
    title="FLOPs per token",
    task=(
        "Return `(inference, training)`, the FLOPs of one token. `active` is what it touches, input "
        "embedding (`embedding` parameters) and head included; looking up a row costs nothing, and every "
        "other active parameter makes one multiply-add, that is two FLOPs. In each layer each of `n_heads` "
        "query heads also meets `n_positions` keys and as many values of width `d_head`. A training step "
        "runs forward, then backward at twice the cost. `total` is given too; do you need it?"
    ),
    entry="flops_per_token",
    points=3,
    minutes=10,
    difficulty=2,
    outputs=(Output("inference", kind="int"), Output("training", kind="int")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "multiply_adds",
            "These are multiply-adds. Each is a multiplication and an addition: two FLOPs.",
            wrong=lambda *a: _both(reference(*a)[0] // 2),
        ),
        Misconception(
            "embedding_multiplied",
            "The input embedding is counted as a product. A token reads one row of it and multiplies "
            "nothing.",
            wrong=lambda n, a, v, *rest: _both(2 * a + _attention(*rest)),
        ),
        Misconception(
            "all_experts",
            "This is computed from the total. Experts that a token did not choose cost it nothing.",
            wrong=lambda n, a, v, *rest: _both(2 * (n - v) + _attention(*rest)),
        ),
        Misconception(
            "no_context",
            "Only the weights are counted. Attention also multiplies queries with keys and sums up values, "
            "and that part grows with the context.",
            wrong=lambda n, a, v, *rest: _both(2 * (a - v)),
            hint=2,
        ),
        Misconception(
            "rule_of_thumb",
            "These are 2 N and 6 N, with N all active parameters. A good rule for short contexts, but two "
            "things are rough in it: the input embedding multiplies nothing, and attention to the context is "
            "missing.",
            wrong=lambda n, a, *rest: _both(2 * a),
            hint=2,
        ),
        Misconception(
            "keys_only",
            "Attention makes two products with every position: query with key, then weight with value. One "
            "of them is missing.",
            wrong=lambda n, a, v, *rest: _both(2 * (a - v) + _attention(*rest) // 2),
            hint=2,
        ),
        Misconception(
            "one_head",
            "Attention is counted for one head. Every query head looks at all positions.",
            wrong=lambda n, a, v, n_layers, h, d_h, p: _both(2 * (a - v) + _attention(n_layers, 1, d_h, p)),
            hint=2,
        ),
        Misconception(
            "one_layer",
            "Attention is counted for one layer. Every layer has its own.",
            wrong=lambda n, a, v, n_layers, h, d_h, p: _both(2 * (a - v) + _attention(1, h, d_h, p)),
            hint=2,
        ),
        Misconception(
            "whole_sequence",
            "Attention is counted with the square of the context. That is the cost of all its tokens; asked "
            "for is one.",
            wrong=lambda n, a, v, n_layers, h, d_h, p: _both(
                2 * (a - v) + _attention(n_layers, h, d_h, p) * p
            ),
            hint=2,
        ),
        Misconception(
            "weights_once",
            "The weights are counted with one FLOP each, attention with two. Every multiply-add is a "
            "multiplication and an addition, in the weights as well.",
            wrong=lambda n, a, v, *rest: _both(a - v + _attention(*rest)),
        ),
        Misconception(
            "attention_once",
            "Attention is counted with one FLOP for each multiply-add, the weights with two.",
            wrong=lambda n, a, v, *rest: _both(2 * (a - v) + _attention(*rest) // 4),
            hint=2,
        ),
        Misconception(
            "head_left_out",
            "The head was subtracted along with the input embedding. The head is multiplied: it gives a "
            "score for every word of the vocabulary. Only the input embedding is looked up.",
            wrong=lambda n, a, v, *rest: _both(2 * (a - 2 * v) + _attention(*rest)),
        ),
        Misconception(
            "six_times",
            "Training is six times inference here. The six of the rule is six FLOPs per *parameter*: two "
            "forward and four backward. Measured against inference that is three times.",
            wrong=lambda *a: (reference(*a)[0], 6 * reference(*a)[0]),
            hint=3,
        ),
        Misconception(
            "attention_not_trained",
            "Inference is right. In training attention to the context is missing: six FLOPs per parameter "
            "is a rule for weights alone.",
            wrong=lambda n, a, v, *rest: (2 * (a - v) + _attention(*rest), 6 * (a - v)),
            hint=3,
        ),
        Misconception(
            "swapped",
            "Both numbers are right, in the wrong order: inference first, then training.",
            wrong=lambda *a: reference(*a)[::-1],
            hint=3,
        ),
        Misconception(
            "six_everywhere",
            "Both numbers are the cost of training. Six FLOPs per parameter is forward and backward; "
            "inference runs forward alone.",
            wrong=lambda *a: (reference(*a)[1],) * 2,
            hint=3,
        ),
        Misconception(
            "attention_only_forward",
            "In training the weights are counted three times and attention once. The backward pass goes "
            "through attention as well.",
            wrong=lambda n, a, v, *rest: (
                2 * (a - v) + _attention(*rest),
                6 * (a - v) + _attention(*rest),
            ),
            hint=3,
        ),
        Misconception(
            "backward_like_forward",
            "Training is twice inference. Backward alone costs that much: for each product of the forward "
            "pass it forms two, the gradient of the input and that of the weight. And forward comes first.",
            wrong=lambda *a: (reference(*a)[0], 2 * reference(*a)[0]),
            hint=3,
        ),
    ),
    hints=(
        "Which of the active parameters does a token multiply with, and which does it only look up?",
        "Per layer, head and position: `d_head` multiply-adds for the score and `d_head` for the value.",
        "Training is forward plus twice forward: three times inference.",
    ),
    notice=(
        "`total` is never used: the price of a token follows from what it touches, and what merely lies "
        "in memory costs no multiply-add."
    ),
)

"""Exercise 03.mixtral: total and active parameters of a whole model from its config's numbers."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.counting import mixtral_counts as counts
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output

NAMES = (
    "vocab_size",
    "d_model",
    "n_layers",
    "n_heads",
    "n_kv_heads",
    "d_head",
    "d_expert",
    "n_experts",
    "top_k",
)


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Both Mixtrals, and two drawn models whose heads together are not as wide as the model."""
    rows = [
        ("Mixtral-8x7B", (32000, 4096, 32, 32, 8, 128, 14336, 8, 2)),
        ("Mixtral-8x22B", (32000, 6144, 56, 48, 8, 128, 16384, 8, 2)),
    ]
    for i, n_experts in enumerate((12, 64)):
        d_model = 64 * int(rng.integers(8, 20))
        row = (
            int(rng.integers(3000, 9000)),
            d_model,
            int(rng.integers(5, 12)),
            24,
            4,
            int(d_model / 24) + 7 + i,
            d_model + 32 * int(rng.integers(3, 30)),
            n_experts,
            3 + i,
        )
        rows.append((f"a drawn model with {n_experts} experts", row))
    return [Case(name, dict(zip(NAMES, row, strict=True))) for name, row in rows]


def reference(
    vocab_size: int,
    d_model: int,
    n_layers: int,
    n_heads: int,
    n_kv_heads: int,
    d_head: int,
    d_expert: int,
    n_experts: int,
    top_k: int,
) -> counts.Counts:
    """Embedding, head, attention, router, experts and norms; active has K experts a layer in place of E."""
    return counts.count(
        vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k
    )


MIXTRAL = Exercise(
    id="03.mixtral",
    title="46.7 and 12.9 billion, from nine numbers",
    task=(
        "Return `(total, active)` of a model built like Mixtral: embedding and head are two tables; each "
        "layer has attention with `n_heads` query heads and `n_kv_heads` key and value heads of width "
        "`d_head` (four matrices, no biases), a router, `n_experts` SwiGLU experts and two RMSNorms; one "
        "more norm before the head. Active is all that one token touches: embedding and head in full, "
        "`top_k` experts."
    ),
    entry="mixtral",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("total", kind="int"), Output("active", kind="int")),
    draw=draw,
    reference=reference,
    misconceptions=(
        Misconception(
            "whole_models",
            "The whole model is multiplied by the number of experts, as the name 8x7B suggests. Only the "
            "FFN is there E times: attention, norms, embedding and head are shared.",
            wrong=counts.whole_models,
        ),
        Misconception(
            "whole_models_with_routers",
            "The whole model is multiplied by the number of experts, routers and all, as the name 8x7B "
            "suggests. Only the FFN is there E times: attention, norms, router, embedding and head are "
            "shared.",
            wrong=lambda *sizes: counts.whole_models(*sizes, routers=1),
        ),
        Misconception(
            "swapped",
            "Both numbers are right, in the wrong order: total first, then active.",
            wrong=lambda *sizes: counts.count(*sizes)[::-1],
        ),
        Misconception(
            "proportional",
            "Total is right. Active is total times K / E, as if all of the model were experts. What is "
            "outside the experts is active in full.",
            wrong=counts.proportional,
            hint=3,
        ),
        Misconception(
            "experts_only",
            "Only the experts are counted. Attention, norms, routers, embedding and head are parameters too.",
            wrong=lambda *sizes: tuple(3 * sizes[1] * sizes[6] * sizes[2] * n for n in sizes[7:]),
        ),
        Misconception(
            "router_once",
            "One router is counted for the whole model. Every layer has its own.",
            wrong=counts.router_once,
        ),
        Misconception(
            "one_expert_active",
            "Total is right. Active has one expert in each layer; a token passes `top_k` of them.",
            wrong=counts.top_1,
            hint=3,
        ),
        Misconception(
            "two_matrices",
            "The experts have two matrices here. SwiGLU has gate, up and down. With two, Mixtral would come "
            "to 31.7 billion.",
            wrong=counts.counted_with(matrices=2),
        ),
        Misconception(
            "all_active",
            "Active equals total: all E experts are counted as active. A token passes K of them.",
            wrong=lambda *sizes: (counts.count(*sizes)[0],) * 2,
        ),
        Misconception(
            "embedding_once",
            "Embedding and head are counted as one table. That is right where a config says "
            "`tie_word_embeddings`; here they are two.",
            wrong=counts.counted_with(tables=1),
        ),
        Misconception(
            "kv_heads_like_query_heads",
            "Keys and values are given as many heads as the queries. With grouped-query attention there are "
            "`n_kv_heads` of them.",
            wrong=counts.all_heads,
            hint=2,
        ),
        Misconception(
            "heads_fill_the_model",
            "The width of a head is taken as D / h. It need not be: `d_head` is a number of its own, and the "
            "heads together may be wider than the model.",
            wrong=counts.heads_fill_model,
            hint=2,
        ),
        Misconception(
            "square_projections",
            "Queries and output projection are counted as D × D. They lead from D to the heads together, "
            "`n_heads` times `d_head`, and back; that need not be D.",
            wrong=counts.square_projections,
            hint=2,
        ),
        Misconception(
            "no_output_projection",
            "Attention has three matrices here: queries, keys, values. A fourth brings the heads back to the "
            "width of the model.",
            wrong=counts.three_matrices,
            hint=2,
        ),
        Misconception(
            "router_forgotten",
            "The routers are missing: one row of width D for each expert, in every layer.",
            wrong=counts.counted_with(routers=0),
        ),
        Misconception(
            "router_of_the_chosen",
            "Active holds only K rows of each router. To know who is chosen, a token has to meet all E rows.",
            wrong=counts.router_of_chosen,
        ),
        Misconception(
            "norms_forgotten",
            "The norms are missing. They are few, but exact to the last parameter includes them.",
            wrong=counts.counted_with(norms=0, final_norm=0),
            hint=3,
        ),
        Misconception(
            "norms_once",
            "The norms are counted once for the whole model. Every layer has two of its own; the last one, "
            "before the head, is there once.",
            wrong=counts.norms_once,
            hint=2,
        ),
        Misconception(
            "one_norm_per_layer",
            "One norm is counted in each layer. There are two: before attention and before the experts.",
            wrong=counts.counted_with(norms=1),
            hint=3,
        ),
        Misconception(
            "final_norm_forgotten",
            "The last norm, after all layers and before the head, is missing.",
            wrong=counts.counted_with(final_norm=0),
            hint=3,
        ),
        Misconception(
            "without_input_embedding",
            "Total is right. Active leaves the input embedding out, which is the convention of the gpt-oss "
            "card; asked for is Mixtral's, with everything in full.",
            wrong=counts.without_input_embedding,
        ),
        Misconception(
            "without_both_tables",
            "Total is right. Active leaves out embedding and head, as some publishers do; asked for is "
            "Mixtral's convention, with everything in full.",
            wrong=counts.without_both_tables,
        ),
        Misconception(
            "one_layer",
            "One layer is counted. Everything but embedding, head and last norm is there in every layer.",
            wrong=counts.one_layer,
            hint=3,
        ),
    ),
    hints=(
        "Which parts exist once in the model, which once in a layer, and which E times in a layer?",
        "Attention: queries and output are `d_model * n_heads * d_head` each, keys and values "
        "`d_model * n_kv_heads * d_head` each.",
        "total = 2 V D + D + L (attention + E D + 2 D + E expert). What changes for active?",
    ),
    notice="Total and active differ in one factor: `n_experts` became `top_k`, all else counts in full.",
)

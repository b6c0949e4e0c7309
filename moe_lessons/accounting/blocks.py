"""The parts that families share: kinds of attention, routers with experts, the frame around the layers."""

from collections.abc import Iterable
from typing import Any

from moe_lessons.accounting.fields import MAX_LAYERS, Fields
from moe_lessons.accounting.shapes import Attention, Cache, Layer, Matrix, Model, MoE, Read, gated, grouped

EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")


def grouped_query(
    d_model: int,
    n_heads: int,
    n_kv_heads: int,
    d_head: int,
    *,
    qkv_bias: bool = False,
    output_bias: bool = False,
    vectors: int = 0,
    window: int | None = None,
    chunked: bool = False,
) -> Attention:
    """Grouped-query attention: h query heads share h_kv heads of keys and values.

    Weights D d_h (2 h + 2 h_kv); per position h d_h multiply-adds for the scores and as many for the values;
    2 h_kv d_h numbers in the cache. The backward pass needs the input, q, k, v and the heads' output.

    References
    ----------
    Ainslie et al., "GQA", arXiv:2305.13245, section 2.2.

    Examples
    --------
    >>> mixtral = grouped_query(4096, 32, 8, 128)
    >>> mixtral.parameters  # 4096 * 128 * (2 * 32 + 2 * 8)
    41943040
    >>> mixtral.cache[0].elements  # 2 * 8 * 128
    2048
    """
    queries, keys = n_heads * d_head, n_kv_heads * d_head
    return Attention(
        matrices=(
            Matrix(d_model, queries, qkv_bias),
            Matrix(d_model, keys, qkv_bias, copies=2),
            Matrix(queries, d_model, output_bias),
        ),
        vectors=vectors,
        reads=(Read(2 * queries, window, chunked),),
        cache=(Cache(2 * keys, window),),
        saved_elements=d_model + 2 * queries + 2 * keys,
    )


def latent(
    d_model: int,
    n_heads: int,
    query_rank: int | None,
    kv_rank: int,
    d_nope: int,
    d_rope: int,
    d_value: int,
    *,
    bias: bool = False,
) -> Attention:
    """Multi-head latent attention (MLA): keys and values are rebuilt from one latent per token.

    The cache holds that latent and one rotary key: r_kv + d_rope. Prefill expands it to keys and values;
    decode folds the expansion into the query and the output, which costs as many multiply-adds per new
    token, and then reads the latents themselves: h (2 r_kv + d_rope) per position in place of h (d_nope +
    d_rope + d_value).

    References
    ----------
    DeepSeek-AI, "DeepSeek-V2", arXiv:2405.04434, section 2.1.2 and appendix C.

    Examples
    --------
    >>> v3 = latent(7168, 128, 1536, 512, 128, 64, 128)
    >>> v3.parameters
    187107328
    >>> v3.cache[0].elements  # 512 + 64
    576
    """
    d_key = d_nope + d_rope
    down_query = () if query_rank is None else (Matrix(d_model, query_rank, bias),)
    return Attention(
        matrices=(
            *down_query,
            Matrix(query_rank or d_model, n_heads * d_key),
            Matrix(d_model, kv_rank + d_rope, bias),
            Matrix(kv_rank, n_heads * (d_nope + d_value)),
            Matrix(n_heads * d_value, d_model, bias),
        ),
        vectors=(query_rank or 0) + kv_rank,
        reads=(Read(n_heads * (d_key + d_value)),),
        decode_reads=(Read(n_heads * (2 * kv_rank + d_rope)),),
        cache=(Cache(kv_rank + d_rope),),
        saved_elements=d_model
        + 2 * (query_rank or 0)
        + 2 * kv_rank
        + d_rope
        + 2 * n_heads * (d_key + d_value),
    )


def head_counts(fields: Fields, kv_default: bool = False, width: str = "implied") -> tuple[int, int, int]:
    """Query heads, key-value heads and head width.

    Where a config is silent about the width, D / h is `implied` by the family, or `assumed` and reported
    because its models differ, or the width is `required`.
    """
    n_heads = fields.integer("num_attention_heads")
    if kv_default and not fields.has("num_key_value_heads"):
        n_kv_heads = n_heads
        fields.assume("num_key_value_heads", n_heads)
    else:
        n_kv_heads = fields.integer("num_key_value_heads")
    check_groups(fields, n_heads, n_kv_heads)
    if fields.has("head_dim") or width == "required":
        return n_heads, n_kv_heads, fields.integer("head_dim")
    d_head, rest = divmod(fields.integer("hidden_size"), n_heads)
    remedy = f"choose a multiple of num_attention_heads={n_heads}, or give head_dim, which is missing"
    fields.require("hidden_size", rest == 0, remedy)
    if width == "assumed":
        fields.assume("head_dim", d_head)
    return n_heads, n_kv_heads, d_head


def check_groups(fields: Fields, n_heads: int, n_kv_heads: int) -> None:
    """Refuse key-value heads that cannot be shared evenly."""
    fields.require(
        "num_key_value_heads", n_heads % n_kv_heads == 0, f"choose a divisor of num_attention_heads={n_heads}"
    )


def layer_count(fields: Fields, name: str = "num_hidden_layers") -> int:
    """The number of layers."""
    return fields.integer(name, high=MAX_LAYERS)


def experts_of(fields: Fields, n_name: str, k_name: str) -> tuple[int, int]:
    """E and K, with 1 <= K <= E; transformers writes E under a name of its own as well."""
    names = [name for name in (n_name, *EXPERT_COUNTS) if fields.has(name)] or [n_name]
    n_experts = fields.integer(names[0])
    for other in names[1:]:
        fields.require(other, fields.integer(other) == n_experts, f"{names[0]}={n_experts} says otherwise")
    return n_experts, fields.integer(k_name, high=n_experts, note=f", as {names[0]}={n_experts}")


def experts(
    d_model: int,
    n_experts: int,
    top_k: int,
    expert: tuple[Matrix, ...],
    *,
    shared: tuple[Matrix, ...] = (),
    router_bias: bool = False,
    n_zero: int = 0,
) -> MoE:
    """A linear router over E experts and `n_zero` that do nothing, K of which see a token.

    Examples
    --------
    >>> experts(4096, 8, 2, (Matrix(4096, 14336),)).router.parameters  # 8 * 4096
    32768
    """
    return MoE(n_experts, top_k, Matrix(d_model, n_experts + n_zero, router_bias), expert, shared, n_zero)


def gated_experts(fields: Fields, n_name: str, k_name: str = "num_experts_per_tok") -> MoE:
    """E gated experts of width `intermediate_size` and nothing beside them, as in Mixtral."""
    d_model = fields.integer("hidden_size")
    return experts(
        d_model, *experts_of(fields, n_name, k_name), gated(d_model, fields.integer("intermediate_size"))
    )


def uniform(fields: Fields, attention: Attention, moe: MoE, *, norms: int = 2, **frame: Any) -> Model:
    """A decoder whose layers are all alike, each with so many norms of the model's width."""
    d_model = fields.integer("hidden_size")
    layer = Layer(d_model, attention, moe, norms=norms * d_model)
    return decoder(fields, [layer] * layer_count(fields), **frame)


def decoder(
    fields: Fields,
    layers: Iterable[Layer],
    *,
    tied: bool | None = None,
    tied_default: bool = False,
    head_bias: bool = False,
    final_norms: int | None = None,
    notes: tuple[str, ...] = (),
) -> Model:
    """Put embedding, head and final norm around the layers of a decoder."""
    d_model = fields.integer("hidden_size")
    return Model(
        name="",
        family="",
        vocab_size=fields.integer("vocab_size"),
        d_model=d_model,
        layers=grouped(layers),
        tied=fields.flag("tie_word_embeddings", tied_default) if tied is None else tied,
        head_bias=head_bias,
        final_norms=d_model if final_norms is None else final_norms,
        notes=notes,
    )

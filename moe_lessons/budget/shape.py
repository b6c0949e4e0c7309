"""What one designs: widths, experts, precision, layout and tokens, and what follows by counting.

Kept the same for all designs, so that no choice hides in them: heads of 128, four query heads to a pair of
key and value heads, SwiGLU, a vocabulary of 65,536 with a table and a head of its own.
"""

from dataclasses import dataclass, fields
from functools import cached_property

from moe_lessons.accounting.shapes import Attention, Cache, Dense, Layer, Matrix, Model, MoE, Read, gated

VOCAB = 65_536
HEAD = 128
QUERIES_PER_KV = 4
CACHE_BYTES = 2
"""A number of the cache takes 16 bits, whatever the weights take."""
LAYOUTS = ("one", "experts", "all")
"""One device; experts over all devices and the rest on each; every matrix cut over all devices."""


@dataclass(frozen=True)
class Design:
    """A decoder with a layer of experts in each block; with one expert it is dense.

    Parameters
    ----------
    d_model, n_layers, n_heads : int
        D, blocks, query heads.
    n_experts, top_k, d_expert : int
        E, K and F; E = K = 1 is dense, with F its hidden width.
    n_shared : int
        Experts that every token passes besides.
    bits : int
        Of a weight when the model is served: 16, 8 or 4.
    layout : str
        One of ``LAYOUTS``.
    tokens : float
        Seen in training, repetitions included.

    Examples
    --------
    >>> design = usual(2048, 64, 4, 512)
    >>> design.n_layers, design.n_kv_heads, f"{design.total:.3g}", f"{design.active:.3g}"
    (16, 4, '3.66e+09', '5.05e+08')
    """

    d_model: int
    n_layers: int
    n_heads: int
    n_experts: int
    top_k: int
    d_expert: int
    n_shared: int = 0
    bits: int = 8
    layout: str = "one"
    tokens: float = 1e12

    @property
    def dense(self) -> bool:
        """Whether there is nothing to choose."""
        return self.n_experts == 1

    @property
    def n_kv_heads(self) -> int:
        """Pairs of key and value heads that are kept."""
        return max(1, self.n_heads // QUERIES_PER_KV)

    @property
    def expert(self) -> int:
        """Parameters of one expert of one layer."""
        return 3 * self.d_model * self.d_expert

    @property
    def attention(self) -> int:
        """Parameters of one layer's attention: queries and output, keys and values."""
        return 2 * self.d_model * (self.n_heads + self.n_kv_heads) * HEAD

    @property
    def router(self) -> int:
        """Parameters of one layer's router."""
        return 0 if self.dense else self.d_model * self.n_experts

    @cached_property
    def rest(self) -> int:
        """Parameters that every token passes: attention, routers, shared experts, the head."""
        layer = self.attention + self.router + self.n_shared * self.expert
        return self.n_layers * layer + VOCAB * self.d_model

    @cached_property
    def active(self) -> int:
        """Parameters that one token passes; of the table it reads one row."""
        return self.rest + self.n_layers * self.top_k * self.expert

    @property
    def total(self) -> int:
        """All parameters, without the norms, which are some thousands."""
        return self.rest + VOCAB * self.d_model + self.n_layers * self.n_experts * self.expert

    @property
    def cache_bytes_per_token(self) -> int:
        """Keys and values of all layers."""
        return 2 * self.n_layers * self.n_kv_heads * HEAD * CACHE_BYTES

    @property
    def activation(self) -> float:
        """Active experts over all experts, the shared ones counted in both: A of Ling's law."""
        return (self.top_k + self.n_shared) / (self.n_experts + self.n_shared)

    @property
    def granularity(self) -> float:
        """2 d_model / d_expert: G of Ling's law."""
        return 2 * self.d_model / self.d_expert

    def as_model(self) -> Model:
        """Describe it as `moe_lessons.accounting` does, to be counted there: the two must agree.

        Examples
        --------
        >>> from moe_lessons.accounting import count
        >>> count(usual(2048, 64, 4, 512).as_model()).total == usual(2048, 64, 4, 512).total
        True
        """
        d, queries, kv = self.d_model, self.n_heads * HEAD, self.n_kv_heads * HEAD
        attention = Attention(
            (Matrix(d, queries), Matrix(d, kv, copies=2), Matrix(queries, d)),
            (Read(2 * queries),),
            (Cache(2 * kv),),
            saved_elements=0,
        )
        ffn: Dense | MoE = Dense(gated(d, self.d_expert))
        if not self.dense:
            shared = gated(d, self.n_shared * self.d_expert) if self.n_shared else ()
            router = Matrix(d, self.n_experts)
            ffn = MoE(self.n_experts, self.top_k, router, gated(d, self.d_expert), shared)
        layer = Layer(d, attention, ffn, norms=0)
        return Model("a design", "design", VOCAB, d, ((layer, self.n_layers),), tied=False, final_norms=0)


def as_chosen(design: Design) -> Design:
    """A design with the same choices and nothing else: each is read once, and what follows is counted anew.

    What is judged must be what is designed. A subclass may answer otherwise each time that it is asked, and
    what was counted once lies in the design, where it can be written over.

    Raises
    ------
    TypeError
        If it is no design.

    Examples
    --------
    >>> design = usual(2048, 64, 4, 512)
    >>> design.__dict__["active"] = 1
    >>> design.active, as_chosen(design).active, as_chosen(design) == design
    (1, 505413632, True)
    """
    if not isinstance(design, Design):
        raise TypeError(
            f"design is a {type(design).__name__}: give a Design, such as usual(2048, 64, 4, 512)"
        )
    return Design(*(getattr(design, field.name) for field in fields(Design)))


def usual(
    d_model: int,
    n_experts: int,
    top_k: int,
    d_expert: int,
    *,
    n_shared: int = 0,
    bits: int = 8,
    layout: str = "one",
    tokens: float = 1e12,
) -> Design:
    """Fill in what most models have: a layer and a head for each 128 of the width, 8 layers at least.

    Examples
    --------
    >>> usual(4096, 8, 2, 8192).n_layers, usual(512, 8, 2, 256).n_layers
    (32, 8)
    """
    wide = max(1, d_model // HEAD) if isinstance(d_model, int) else 1  # `refusals` says what is no width
    return Design(d_model, max(8, wide), wide, n_experts, top_k, d_expert, n_shared, bits, layout, tokens)

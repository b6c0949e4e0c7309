"""What a model is made of, whatever its publisher calls the parts: matrices, layers, experts.

Axes: D model width, F hidden width of a feed-forward network, E experts, K experts per token, V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Matrix:
    """A weight matrix that multiplies a token, `copies` times over.

    Parameters
    ----------
    n_in, n_out : int
        Widths before and after.
    bias : bool
        Whether a vector of width `n_out` is added.
    copies : int
        So many matrices of this shape.

    Examples
    --------
    >>> Matrix(3, 4, bias=True, copies=2).parameters  # 2 * (3 * 4 + 4)
    32
    """

    n_in: int
    n_out: int
    bias: bool = False
    copies: int = 1

    @property
    def weights(self) -> int:
        """Parameters without the bias; also the multiply-adds that one token causes."""
        return self.copies * self.n_in * self.n_out

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.copies * self.n_out * self.bias


@dataclass(frozen=True)
class Read:
    """What attention does with each earlier position that a token looks at.

    Parameters
    ----------
    multiply_adds : int
        Per position: all heads' query-key products and weighted values.
    limit : int or None
        The token looks at most at so many positions.
    chunked : bool
        The limit cuts the text into chunks that do not see each other, instead of sliding along.
    causal : bool
        False where a token also sees the positions after it.
    stride : int
        Positions that are summed up in one; the limit counts such sums.
    """

    multiply_adds: int
    limit: int | None = None
    chunked: bool = False
    causal: bool = True
    stride: int = 1


@dataclass(frozen=True)
class Cache:
    """What is kept for each `stride` positions of the context, and for at most how many positions."""

    elements: int
    limit: int | None = None
    stride: int = 1


@dataclass(frozen=True)
class Attention:
    """The part of a layer in which tokens see each other.

    Parameters
    ----------
    matrices : tuple of Matrix
        Projections that every token passes.
    reads : tuple of Read
        Cost per earlier position while many tokens are processed at once (prefill, training).
    cache : tuple of Cache
    saved_elements : int
        Numbers per token that the backward pass needs.
    vectors : int
        Parameters that no token is multiplied with as a matrix: norms of queries and keys, sinks, biases.
    decode_reads : tuple of Read or None
        Cost per earlier position in decode, where it differs (latent attention reads the latents themselves).
    decode_matrices : tuple of Matrix or None
        Projections in decode, where they differ (cross-attention has its keys already).
    state_elements : int
        Numbers kept per sequence whatever its length (linear attention, state spaces).
    fixed_multiply_adds : int
        Multiply-adds per token that depend neither on a weight matrix nor on the context.
    """

    matrices: tuple[Matrix, ...]
    reads: tuple[Read, ...]
    cache: tuple[Cache, ...]
    saved_elements: int
    vectors: int = 0
    decode_reads: tuple[Read, ...] | None = None
    decode_matrices: tuple[Matrix, ...] | None = None
    state_elements: int = 0
    fixed_multiply_adds: int = 0

    @property
    def parameters(self) -> int:
        """All weights, biases, norms and sinks."""
        return parameters(self.matrices) + self.vectors


@dataclass(frozen=True)
class Dense:
    """A feed-forward network that every token passes."""

    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class MoE:
    """A router and its experts.

    Parameters
    ----------
    n_experts, top_k : int
        E and K.
    router : Matrix
    expert : tuple of Matrix
        One routed expert.
    shared : tuple of Matrix
        Everything beside the routed experts that each token passes: shared experts, their gate.
    n_zero : int
        Further experts that return their input; the router chooses K of E + n_zero.
    router_inner : tuple of Matrix
        What a router of several layers does before its last matrix.
    router_vectors : int
        Parameters of the router that no token is multiplied with as a matrix: norms, scales, trained biases.

    Examples
    --------
    >>> moe = MoE(8, 2, Matrix(4, 8), gated(4, 6))
    >>> moe.expert_parameters  # gate, up, down: 3 * 4 * 6
    72
    """

    n_experts: int
    top_k: int
    router: Matrix
    expert: tuple[Matrix, ...]
    shared: tuple[Matrix, ...] = ()
    n_zero: int = 0
    router_inner: tuple[Matrix, ...] = ()
    router_vectors: int = 0

    @property
    def router_parameters(self) -> int:
        """Everything that serves to choose."""
        return self.router.parameters + parameters(self.router_inner) + self.router_vectors

    @property
    def expert_parameters(self) -> int:
        """Parameters of one routed expert, biases included."""
        return parameters(self.expert)


@dataclass(frozen=True)
class Layer:
    """One block of a transformer: attention, feed-forward network or experts, norms, and what is neither."""

    d_model: int
    attention: Attention | None
    ffn: Dense | MoE | None
    norms: int
    encoder: bool = False
    other: tuple[Matrix, ...] = ()
    other_vectors: int = 0


@dataclass(frozen=True)
class Model:
    """A model as its config describes it, ready to be counted.

    Parameters
    ----------
    name, family : str
        The family is the config's `model_type`.
    vocab_size, d_model : int
        V and D.
    layers : tuple of (Layer, int)
        Different layers, each with how often it occurs.
    tied : bool
        The head uses the embedding's matrix.
    head_bias : bool
    final_norms : int
        Parameters of the norms outside the layers.
    source : str
        Where the dimensions can be read; empty for a config of one's own.
    assumed : tuple of str
        Config fields that were absent and the values used for them.
    notes : tuple of str
        What is left out, or counted in a way that may surprise.
    other, other_vectors : tuple of Matrix, int
        Matrices and further parameters outside the layers that are none of the above.
    n_classes : int or None
        Rows of a head that names classes, or leaves out the table's padding; None where it has V rows.
    """

    name: str
    family: str
    vocab_size: int
    d_model: int
    layers: tuple[tuple[Layer, int], ...]
    tied: bool
    final_norms: int
    head_bias: bool = False
    source: str = ""
    assumed: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    other: tuple[Matrix, ...] = ()
    other_vectors: int = 0
    n_classes: int | None = None

    @property
    def n_outputs(self) -> int:
        """Rows of the head: V, if they are not stated apart."""
        return self.vocab_size if self.n_classes is None else self.n_classes

    @property
    def n_layers(self) -> int:
        """Layers with attention; an encoder-decoder counts both halves."""
        return sum(times for layer, times in self.layers if layer.attention is not None)

    @property
    def moes(self) -> tuple[tuple[MoE, int], ...]:
        """The Mixture-of-Experts layers, each with how often it occurs."""
        return tuple((layer.ffn, times) for layer, times in self.layers if isinstance(layer.ffn, MoE))

    @property
    def n_moe_layers(self) -> int:
        """Layers that hold experts."""
        return sum(times for _, times in self.moes)


def parameters(matrices: Iterable[Matrix]) -> int:
    """Weights and biases of several matrices."""
    return sum(m.parameters for m in matrices)


def weights(matrices: Iterable[Matrix]) -> int:
    """Weights of several matrices, which are also one token's multiply-adds."""
    return sum(m.weights for m in matrices)


def gated(d_model: int, d_hidden: int, bias: bool = False) -> tuple[Matrix, ...]:
    """A gated feed-forward network (SwiGLU, GeGLU): gate and up, then down.

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202, equation 6.

    Examples
    --------
    >>> weights(gated(4096, 14336))  # 3 * 4096 * 14336, one expert of Mixtral 8x7B
    176160768
    """
    return Matrix(d_model, d_hidden, bias, copies=2), Matrix(d_hidden, d_model, bias)


def plain(d_model: int, d_hidden: int, bias: bool = False) -> tuple[Matrix, ...]:
    """A feed-forward network of two matrices (ReLU, GELU).

    Examples
    --------
    >>> weights(plain(768, 3072))  # 2 * 768 * 3072
    4718592
    """
    return Matrix(d_model, d_hidden, bias), Matrix(d_hidden, d_model, bias)


def grouped(layers: Iterable[Layer]) -> tuple[tuple[Layer, int], ...]:
    """Collect equal layers, in the order of their first occurrence.

    Examples
    --------
    >>> a, b = Layer(4, None, None, 8), Layer(4, None, None, 4)
    >>> [times for _, times in grouped([a, b, a])]
    [2, 1]
    """
    counts: dict[Layer, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    return tuple(counts.items())

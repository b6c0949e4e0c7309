"""How 03.mixtral counts a model, and how those count who take another rule."""

from collections.abc import Callable

Counts = tuple[int, int]


def count(
    v: int,
    d: int,
    n_layers: int,
    h: int,
    h_kv: int,
    d_h: int,
    f: int,
    e: int,
    k: int,
    *,
    tables: int = 2,
    matrices: int = 3,
    routers: int = 1,
    norms: int = 2,
    final_norm: int = 1,
) -> Counts:
    """Total and active parameters."""
    attention = d * d_h * (2 * h + 2 * h_kv)
    layer = attention + routers * e * d + norms * d
    outside = tables * v * d + final_norm * d
    expert = matrices * d * f
    return outside + n_layers * (layer + e * expert), outside + n_layers * (layer + k * expert)


def counted_with(**changes: int) -> Callable[..., Counts]:
    """The same count with other numbers of tables, matrices, routers or norms."""
    return lambda *sizes: count(*sizes, **changes)


def all_heads(*sizes: int) -> Counts:
    """As many key and value heads as query heads."""
    v, d, n_layers, h, _, *rest = sizes
    return count(v, d, n_layers, h, h, *rest)


def heads_fill_model(*sizes: int) -> Counts:
    """Heads of width D / h."""
    v, d, n_layers, h, h_kv, _, *rest = sizes
    return count(v, d, n_layers, h, h_kv, d // h, *rest)


def whole_models(*sizes: int, routers: int = 0) -> Counts:
    """E whole models, or K."""
    v, d, n_layers, h, h_kv, d_h, f, n_experts, top_k = sizes
    router = routers * n_layers * n_experts * d
    one = count(v, d, n_layers, h, h_kv, d_h, f, 1, 1, routers=0)[0] + router
    return n_experts * one, top_k * one


def proportional(*sizes: int) -> Counts:
    """Active is total times K / E."""
    total = count(*sizes)[0]
    return total, total * sizes[8] // sizes[7]


def top_1(*sizes: int) -> Counts:
    """One active expert."""
    v, d, n_layers, h, h_kv, d_h, f, e, _ = sizes
    return count(*sizes)[0], count(v, d, n_layers, h, h_kv, d_h, f, e, 1)[1]


def router_once(*sizes: int) -> Counts:
    """One router for the model."""
    extra = (sizes[2] - 1) * sizes[7] * sizes[1]
    total, active = count(*sizes)
    return total - extra, active - extra


def one_layer(*sizes: int) -> Counts:
    """One layer."""
    v, d, _, *rest = sizes
    return count(v, d, 1, *rest)


def router_of_chosen(*sizes: int) -> Counts:
    """K rows of each router are active."""
    total, active = count(*sizes)
    return total, active - sizes[2] * (sizes[7] - sizes[8]) * sizes[1]


def three_matrices(*sizes: int) -> Counts:
    """No output projection."""
    total, active = count(*sizes)
    missing = sizes[2] * sizes[1] * sizes[3] * sizes[5]
    return total - missing, active - missing


def without_both_tables(*sizes: int) -> Counts:
    """Embedding and head are not active."""
    total, active = count(*sizes)
    return total, active - 2 * sizes[0] * sizes[1]


def without_input_embedding(*sizes: int) -> Counts:
    """The embedding is not active."""
    total, active = count(*sizes)
    return total, active - sizes[0] * sizes[1]


def square_projections(*sizes: int) -> Counts:
    """Queries and output projection are D by D."""
    _, d, n_layers, h, _, d_h, *_ = sizes
    extra = n_layers * 2 * d * (d - h * d_h)
    total, active = count(*sizes)
    return total + extra, active + extra


def norms_once(*sizes: int) -> Counts:
    """Two norms and the last one for the whole model."""
    missing = (sizes[2] - 1) * 2 * sizes[1]
    total, active = count(*sizes)
    return total - missing, active - missing

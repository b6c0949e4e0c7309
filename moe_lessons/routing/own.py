"""A gate of one's own: what it returned, looked at and made a `Routing`."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moe_lessons.routing.base import Routing


def name_of(part: Callable[..., Any]) -> str:
    """What to call a function in a message.

    Examples
    --------
    >>> name_of(len), name_of(lambda: 0)
    ('len', 'your function')
    """
    name = getattr(part, "__name__", type(part).__name__)
    return "your function" if name == "<lambda>" else name


def as_routing(returned: Any, logits_TE: Tensor, top_k: int | None, gate: Callable[..., Any]) -> Routing:
    """Make a `Routing` of what a gate returned: one already, or ids and weights, in this order.

    Parameters
    ----------
    returned : Routing, or a pair of Tensors of shape (T, K)
    logits_TE : Tensor of shape (T, E)
        What the gate was given.
    top_k : int, optional
        K; any is right if it is not given.
    gate : callable
        Named in the errors.

    Raises
    ------
    ValueError
        If it is neither, ids are not whole numbers, or a shape is not (T, K).

    Examples
    --------
    >>> logits_TE = torch.tensor([[0.0, 2.0, 1.0]])
    >>> as_routing((torch.tensor([[1]]), torch.tensor([[0.5]])), logits_TE, 1, len).topk_weights_TK
    tensor([[0.5000]])
    >>> as_routing((torch.tensor([1]), torch.tensor([0.5])), logits_TE, 1, len)
    Traceback (most recent call last):
    ValueError: gate len returned ids of shape (1,): give (1, 1), a row per token, a column per choice
    """
    name = name_of(gate)
    pair = returned[1:] if isinstance(returned, Routing) else returned
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(x, Tensor) for x in pair)):
        raise ValueError(
            f"gate {name} returned {_kind(returned)}: give ids and weights, two tensors, or a Routing"
        )
    ids_TK, weights_TK = pair
    columns = top_k if top_k is not None else ids_TK.shape[-1] if ids_TK.dim() else 1
    for what, x in (("ids", ids_TK), ("weights", weights_TK)):
        if tuple(x.shape) != (len(logits_TE), columns):
            raise ValueError(
                f"gate {name} returned {what} of shape {tuple(x.shape)}: give ({len(logits_TE)}, {columns}), "
                "a row per token, a column per choice"
            )
    if ids_TK.is_floating_point():
        raise ValueError(
            f"gate {name} returned ids of {ids_TK.dtype}: give whole numbers, ids before weights"
        )
    return returned if isinstance(returned, Routing) else Routing(logits_TE, ids_TK.long(), weights_TK)


def _kind(returned: Any) -> str:
    if isinstance(returned, tuple | list):
        return f"{len(returned)} values ({', '.join(type(x).__name__ for x in returned)})"
    return type(returned).__name__

"""Run a model over a text and catch what each router chose.

transformers names, in `_can_record_outputs`, the module whose output holds a layer's router logits. From
version 5 on that module also returns the chosen experts and their weights; where it does not, the choice is
the top K of the logits. Models of this package return their routing themselves.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from moe_lessons.inspect.texts import Cut
from moe_lessons.inspect.trace import InspectError, LayerTrace

K_NAMES = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "top_k")


@dataclass
class _Caught:
    """One router's outputs, piece by piece."""

    name: str
    n_experts: int = 0
    logits: list[Tensor] = field(default_factory=list)
    ids: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)

    def add(self, logits_TE: Tensor, weights_TK: Tensor, ids_TK: Tensor, keep_logits: bool) -> None:
        """Keep one piece."""
        self.n_experts = logits_TE.shape[-1]
        self.ids.append(ids_TK.detach().cpu().long())
        self.weights.append(weights_TK.detach().float().cpu())
        if keep_logits:
            self.logits.append(logits_TE.detach().float().cpu())

    def joined(self) -> LayerTrace:
        """All pieces, one after the other."""
        logits = torch.cat(self.logits) if self.logits else None
        return LayerTrace(self.name, self.n_experts, torch.cat(self.ids), torch.cat(self.weights), logits)


def record(
    model: nn.Module,
    cut: Cut,
    *,
    keep_logits: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[LayerTrace, ...]:
    """Route a text through every layer with experts.

    Parameters
    ----------
    model : nn.Module
        A model of transformers, or a `MoETransformer`.
    cut : Cut
        As `texts.cut` returns it.
    keep_logits : bool
        Keep all E logits of each token beside the K weights.
    progress : callable, optional
        Called with the tokens of each piece that is through.

    Returns
    -------
    tuple of LayerTrace, one for each layer with experts

    Raises
    ------
    InspectError
        If the model has no router, or one that does not look at every token once.
    """
    from moe_lessons.model import MoETransformer

    own = isinstance(model, MoETransformer)
    routers = [] if own else router_modules(model)
    if not own and not routers:
        raise InspectError(
            f"{type(model).__name__} has no router that transformers can record: is it a Mixture of Experts?"
        )
    caught = [_Caught(name) for name, _, _ in routers]
    k = None if own else _configured_top_k(model)
    hooks = [
        module.register_forward_hook(_hook(store, index, k, keep_logits))
        for store, (_, module, index) in zip(caught, routers, strict=True)
    ]
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            for piece in cut.pieces:
                input_ids_1L = piece[None].to(device)
                if own:
                    _catch_own(caught, model(input_ids_1L).routings, keep_logits)
                else:
                    model(input_ids=input_ids_1L, use_cache=False)
                if progress is not None:
                    progress(len(piece))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InspectError) or "memory" in str(error).lower():
            raise
        line = str(error).strip().split("\n")[0][:160]
        raise InspectError(f"{type(model).__name__} fails on this text: {line}") from error
    finally:
        for hook in hooks:
            hook.remove()
    layers = tuple(store.joined() for store in caught if store.ids)
    if not layers or any(len(layer.topk_ids_TK) != cut.n_tokens for layer in layers):
        raise InspectError(
            f"{type(model).__name__} did not route every token of the text once: its routers are not "
            "understood"
        )
    return layers


def router_modules(model: nn.Module) -> list[tuple[str, nn.Module, int]]:
    """Name, module and place of the logits in its output, for every router that transformers can record."""
    wanted: list[Any] = []
    for module in model.modules():
        recorders = getattr(module, "_can_record_outputs", None)
        entry = recorders.get("router_logits") if isinstance(recorders, dict) else None
        wanted += entry if isinstance(entry, (list, tuple)) else [] if entry is None else [entry]
    places = {getattr(one, "target_class", one): getattr(one, "index", 0) for one in wanted}
    found = [
        (name, module, places[type(module)])
        for name, module in model.named_modules()
        if type(module) in places
    ]
    # JetMoE's attention hands on what the router inside it says: the inner one speaks for both.
    names = [name for name, _, _ in found]
    return [one for one in found if not any(name.startswith(f"{one[0]}.") for name in names)]


def _configured_top_k(model: nn.Module) -> int | None:
    config: Any = getattr(model, "config", None)
    getter = getattr(config, "get_text_config", None)
    text = getter() if callable(getter) else config
    values = (getattr(text, name, None) for name in K_NAMES)
    return next((value for value in values if isinstance(value, int)), None)


def _hook(store: _Caught, index: int, k: int | None, keep_logits: bool) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        store.add(*of_router(output, index, k), keep_logits)

    return hook


def of_router(output: Any, index: int, k: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, weights and ids in a router's output, whatever their order.

    Parameters
    ----------
    output : Tensor or tuple
    index : int
        Place of the logits in the tuple.
    k : int or None
        K, where the output holds no ids.

    Returns
    -------
    logits_TE, topk_weights_TK, topk_ids_TK : Tensor

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 2.0, 1.0]])
    >>> of_router((logits, torch.tensor([[0.7]]), torch.tensor([[1]])), 0, None)[2]
    tensor([[1]])
    >>> of_router((logits.sigmoid(), logits), 1, 1)[1]  # no ids: the largest logit, and its score
    tensor([[0.8808]])
    """
    parts = output if isinstance(output, tuple) else (output,)
    logits_TE = parts[index].reshape(-1, parts[index].shape[-1])
    others = [
        part.reshape(-1, part.shape[-1])
        for i, part in enumerate(parts)
        if i != index and isinstance(part, Tensor) and part.dim() >= 2
    ]
    others = [part for part in others if len(part) == len(logits_TE)]
    ids = next((p.long() for p in others if not p.is_floating_point()), None)
    floats = [part for part in others if part.is_floating_point()]
    if ids is not None:
        weights = next((part for part in floats if part.shape == ids.shape), None)
        if weights is not None:
            return logits_TE, weights, ids
    else:
        if k is None:
            raise InspectError("the router does not say which experts it chose, nor its config how many")
        ids = logits_TE.float().topk(k, dim=-1).indices
    scores = next((part for part in floats if part.shape == logits_TE.shape), None)
    scores = logits_TE.float().softmax(dim=-1) if scores is None else scores
    return logits_TE, scores.gather(1, ids), ids


def _catch_own(caught: list[_Caught], routings: Sequence[Any], keep_logits: bool) -> None:
    if not caught:
        caught += [_Caught(f"layer {i} with experts") for i in range(len(routings))]
    for store, routing in zip(caught, routings, strict=True):
        store.add(routing.logits_TE, routing.topk_weights_TK, routing.topk_ids_TK, keep_logits)


def positions_and_domains(pieces: Sequence[Tensor], domains: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Each token's place in its piece, and its file.

    Examples
    --------
    >>> positions_and_domains([torch.zeros(2), torch.zeros(1)], [0, 1])
    (tensor([0, 1, 0]), tensor([0, 0, 1]))
    """
    positions = torch.cat([torch.arange(len(piece)) for piece in pieces])
    files = torch.cat([torch.full((len(p),), d) for p, d in zip(pieces, domains, strict=True)])
    return positions, files

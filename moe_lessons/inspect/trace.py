"""A routing trace: which experts read which token, layer by layer; kept as safetensors beside JSON."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

VERSION = 1


class InspectError(ValueError):
    """A model, a text or a trace that cannot be looked at; the message is one line with the remedy."""


@dataclass(frozen=True)
class LayerTrace:
    """What the router of one layer did.

    Parameters
    ----------
    name : str
        The router's name in the model.
    n_experts : int
    topk_ids_TK : Tensor of shape (T, K), int64
    topk_weights_TK : Tensor of shape (T, K), float32
    logits_TE : Tensor of shape (T, E), float32, or None
        What the router computed before any softmax, sigmoid or bias.
    """

    name: str
    n_experts: int
    topk_ids_TK: Tensor
    topk_weights_TK: Tensor
    logits_TE: Tensor | None = None

    @property
    def top_k(self) -> int:
        """Experts that a token visits."""
        return self.topk_ids_TK.shape[1]


@dataclass(frozen=True)
class Trace:
    """A text and what every router of a model did with it.

    Parameters
    ----------
    model, family : str
    token_ids_T, positions_T, domains_T : Tensor of shape (T,), int64
        Positions count from the start of each piece of text that the model read at once; a domain is a file.
    tokens : list of str
        The tokens as a reader sees them.
    domains : list of str
        Names of the files.
    layers : tuple of LayerTrace
    untrained : tuple of LayerTrace
        The same for a copy of the model with random weights; empty where there is none.
    about : dict
        Versions, dtype, seed, and what else is worth keeping.
    """

    model: str
    family: str
    token_ids_T: Tensor
    positions_T: Tensor
    domains_T: Tensor
    tokens: list[str]
    domains: list[str]
    layers: tuple[LayerTrace, ...]
    untrained: tuple[LayerTrace, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def n_tokens(self) -> int:
        """Tokens of the text."""
        return len(self.token_ids_T)


def save_trace(trace: Trace, folder: Path, *, with_logits: bool = True) -> None:
    """Write `trace.safetensors` and `trace.json` to a folder.

    Expert ids are stored in 16 bits, weights and logits in 32.

    Raises
    ------
    InspectError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile, torch
    >>> layer = LayerTrace("layers.0.gate", 4, torch.tensor([[0, 3]]), torch.tensor([[0.75, 0.25]]))
    >>> one = torch.zeros(1, dtype=torch.int64)
    >>> trace = Trace("toy", "mixtral", one, one, one, ["a"], ["a.txt"], (layer,))
    >>> folder = Path(tempfile.mkdtemp())
    >>> save_trace(trace, folder)
    >>> load_trace(folder).layers[0].topk_ids_TK
    tensor([[0, 3]])
    """
    tensors = {
        "token_ids": trace.token_ids_T,
        "positions": trace.positions_T.int(),
        "domains": trace.domains_T.short(),
    }
    for prefix, layers in (("layers", trace.layers), ("untrained", trace.untrained)):
        for i, layer in enumerate(layers):
            tensors[f"{prefix}.{i}.ids"] = layer.topk_ids_TK.short()
            tensors[f"{prefix}.{i}.weights"] = layer.topk_weights_TK.float()
            if with_logits and layer.logits_TE is not None and prefix == "layers":
                tensors[f"{prefix}.{i}.logits"] = layer.logits_TE.float()
    about = {
        "version": VERSION,
        "model": trace.model,
        "family": trace.family,
        "domains": trace.domains,
        "layers": [{"name": layer.name, "n_experts": layer.n_experts} for layer in trace.layers],
        "untrained_layers": len(trace.untrained),
        "about": trace.about,
        "tokens": trace.tokens,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written by hand: save_file makes files that nobody else may read.
        data = save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})
        (folder / "trace.safetensors").write_bytes(data)
        text = json.dumps(about, ensure_ascii=False, indent=1)
        (folder / "trace.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InspectError(f"cannot write the trace to {folder}: {error.strerror or error}") from error


def load_trace(folder: Path) -> Trace:
    """Read a trace back.

    Raises
    ------
    InspectError
        If a file is missing or damaged.
    """
    try:
        about = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "trace.safetensors")
    except OSError as error:
        raise InspectError(f"{folder} holds no trace: {error.strerror or error}") from error
    except Exception as error:  # safetensors and json have errors of their own
        raise InspectError(f"the trace in {folder} is damaged: {error}") from error
    if about.get("version") != VERSION:
        raise InspectError(
            f"the trace in {folder} is of version {about.get('version')}, not {VERSION}: record it anew"
        )

    def layers(prefix: str, n: int) -> tuple[LayerTrace, ...]:
        return tuple(
            LayerTrace(
                about["layers"][i]["name"],
                about["layers"][i]["n_experts"],
                tensors[f"{prefix}.{i}.ids"].long(),
                tensors[f"{prefix}.{i}.weights"],
                tensors.get(f"{prefix}.{i}.logits"),
            )
            for i in range(n)
        )

    return Trace(
        about["model"],
        about["family"],
        tensors["token_ids"].long(),
        tensors["positions"].long(),
        tensors["domains"].long(),
        about["tokens"],
        about["domains"],
        layers("layers", len(about["layers"])),
        layers("untrained", about["untrained_layers"]),
        about["about"],
    )


def first_tokens(trace: Trace, n: int) -> Trace:
    """The same trace, of its first n tokens."""

    def cut(layer: LayerTrace) -> LayerTrace:
        logits = None if layer.logits_TE is None else layer.logits_TE[:n]
        return replace(
            layer,
            topk_ids_TK=layer.topk_ids_TK[:n],
            topk_weights_TK=layer.topk_weights_TK[:n],
            logits_TE=logits,
        )

    return replace(
        trace,
        token_ids_T=trace.token_ids_T[:n],
        positions_T=trace.positions_T[:n],
        domains_T=trace.domains_T[:n],
        tokens=trace.tokens[:n],
        layers=tuple(cut(layer) for layer in trace.layers),
        untrained=tuple(cut(layer) for layer in trace.untrained),
    )

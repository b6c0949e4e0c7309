"""Which way a layer's rows take to their experts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moe_lessons.dispatch import PATHS, choose, grouped_supported, moe_auto, moe_generic
from moe_lessons.dispatch.arguments import compute_dtype
from moe_lessons.experts import Experts, SwiGLUExperts
from moe_lessons.kernels import moe_triton, triton_supported
from moe_lessons.layer.spec import LayerSpec
from moe_lessons.linear import only_expert
from moe_lessons.routing.own import name_of

TYPICAL_TOKENS = 2048  # of a training batch: what a path is told for where nobody names an input


Path = str | Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def path_name(path: Path) -> str:
    """What to call a path: its key, or the name of a function of one's own."""
    return path if isinstance(path, str) else name_of(path)


def check_path(path: Path, generic: bool, kind: str) -> None:
    """Refuse an unknown path, and a quick one for experts that it does not compute."""
    known = ("auto", "triton", *PATHS)
    if generic and path not in ("auto", "generic"):
        raise ValueError(
            f"path is {path_name(path)!r}: experts of kind {kind!r} run on 'generic', leave it at 'auto'"
        )
    if not generic and path not in known and not callable(path):
        raise ValueError(f"path is {path!r}: choose one of {', '.join(known)}")


class BankElsewhere(nn.Module):
    """A bank whose experts are not all here: it is called with rows, ids and weights, and finds its own way.

    `moe_lessons.parallel.LocalExperts` is one, whose experts lie on several ranks.
    """

    way = "elsewhere"  # what `MoELayer.path_for` calls it
    gate_up_proj: nn.Parameter
    down_proj: nn.Parameter

    def forward(self, rows_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor, path: Path) -> Tensor:
        """Return sum over k of weight[t, k] * expert[id[t, k]](row[t]), shape (T, D)."""
        raise NotImplementedError


Bank = Experts | SwiGLUExperts | BankElsewhere


def through_experts(
    experts: Bank, spec: LayerSpec, path: Path, rows_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor
) -> Tensor:
    """Take rows to their experts and back: sum over k of weight[t, k] * expert[id[t, k]](row[t])."""
    if isinstance(experts, Experts):
        n_null, null = spec.n_null_experts, spec.null
        run, n_experts = experts.run, spec.n_experts
        return moe_generic(rows_TD, ids_TK, weights_TK, run, n_experts, n_null_experts=n_null, null=null)
    if isinstance(experts, BankElsewhere):
        return experts(rows_TD, ids_TK, weights_TK, path)
    return through_swiglu(path, rows_TD, ids_TK, weights_TK, experts.gate_up_proj, experts.down_proj)


def through_swiglu(
    path: Path, rows_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor, gate_up_proj: Tensor, down_proj: Tensor
) -> Tensor:
    """Take rows to SwiGLU experts by their stacked weights, on a named path or one of one's own."""
    if not isinstance(path, str):
        return _own(path, rows_TD, ids_TK, weights_TK, gate_up_proj, down_proj)
    way = _quick_path(path, rows_TD, len(down_proj))
    return way(rows_TD, ids_TK, weights_TK, gate_up_proj, down_proj)


def scaled_inputs(
    experts: Bank, spec: LayerSpec, path: Path, rows_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor
) -> Tensor:
    """Do the same with the weight on the expert's input: sum over k of expert[id[t, k]](weight[t, k] row[t]).

    Weighted inputs differ between a token's experts, so each slot becomes a token with one expert.
    """
    inputs_TKD = rows_TD.unsqueeze(1) * weights_TK.unsqueeze(-1)
    inputs_SD = inputs_TKD.flatten(0, 1).to(rows_TD.dtype)
    ids_S1 = ids_TK.reshape(-1, 1)
    ones_S1 = torch.ones_like(ids_S1, dtype=torch.float32)
    return through_experts(experts, spec, path, inputs_SD, ids_S1, ones_S1).view_as(inputs_TKD).sum(dim=1)


def path_for(experts: Bank, spec: LayerSpec, path: Path, hidden: Tensor | None) -> str:
    """Name the path that `through_experts` takes, if loads are even."""
    if isinstance(experts, Experts):
        return "generic"
    if isinstance(experts, BankElsewhere):
        return experts.way
    if not isinstance(path, str):
        return name_of(path)
    gate_up_proj, down_proj = experts.gate_up_proj, experts.down_proj
    n_tokens = TYPICAL_TOKENS if hidden is None else hidden.numel() // hidden.shape[-1]
    like = down_proj if hidden is None else hidden
    grouped = grouped_supported(like, gate_up_proj, down_proj)
    triton = triton_supported(like)[0]
    if path == "triton" or (path == "auto" and like.is_cuda and triton):
        path = "triton" if triton else "grouped"
    elif path == "auto" and len(down_proj) == 1:
        path = "dense"
    elif path == "auto":
        n_experts, d_model, d_expert = down_proj.shape
        path = choose(
            n_tokens * spec.top_k,
            n_experts,
            d_model,
            d_expert,
            compute_dtype(like),
            device=like.device.type,
            grouped=grouped,
            gradients=torch.is_grad_enabled(),
            threads=torch.get_num_threads(),
        )
    return "unbind" if path == "grouped" and not grouped else path


def _own(path: Callable[..., Tensor], rows_TD: Tensor, *rest: Tensor) -> Tensor:
    """Call a path of one's own, and look at what it returns."""
    output_TD = path(rows_TD, *rest)
    if not isinstance(output_TD, Tensor) or output_TD.shape != rows_TD.shape:
        found = getattr(output_TD, "shape", None)
        what = type(output_TD).__name__ if found is None else f"shape {tuple(found)}"
        raise ValueError(
            f"path {name_of(path)} returned {what}: give one tensor of shape {tuple(rows_TD.shape)}"
        )
    return output_TD.to(rows_TD.dtype)


def _quick_path(path: str, rows_TD: Tensor, n_experts: int) -> Callable[..., Tensor]:
    triton = rows_TD.is_cuda and triton_supported(rows_TD)[0]
    automatic = moe_triton if triton else only_expert if n_experts == 1 else moe_auto
    return {"auto": automatic, "triton": moe_triton, **PATHS}[path]

"""Banks of experts that lie on several ranks: a rank's own experts, and the way to the others'."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh

from moe_lessons.experts import SwiGLUExperts
from moe_lessons.layer import MoELayer
from moe_lessons.layer.paths import BankElsewhere, Path, through_swiglu
from moe_lessons.parallel.exchange import combine, dispatch
from moe_lessons.parallel.mesh import EP, experts_each


class LocalExperts(BankElsewhere):
    """One rank's share of a bank: E / G experts here, and a forward that exchanges rows with the others.

    Its parameters are DTensors cut along the experts. They say how large the whole is, put themselves
    together for a checkpoint, and keep the names they had.

    Parameters
    ----------
    bank : SwiGLUExperts
        The whole bank, the same on every rank; each keeps its part, and nothing is sent.
    mesh : DeviceMesh
        As `expert_mesh` makes it, or one of its "ep" dimension alone.

    Raises
    ------
    ValueError
        If the ranks cannot hold equally many experts.
    """

    way = "ep"

    def __init__(self, bank: SwiGLUExperts, mesh: DeviceMesh) -> None:
        super().__init__()
        from torch.distributed.tensor import Shard, distribute_tensor

        self.mesh, self.ep = mesh, ep_of(mesh)
        self.n_experts = len(bank.down_proj)
        experts_each(self.n_experts, self.ep.size())
        for name, weight in bank.named_parameters():
            shard = distribute_tensor(weight.detach(), self.ep, [Shard(0)], src_data_rank=None)
            self.register_parameter(name, nn.Parameter(shard, requires_grad=weight.requires_grad))

    def forward(self, rows_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor, path: Path = "auto") -> Tensor:
        """Send rows to their experts, compute this rank's own, and add up what comes back.

        Every rank of the mesh calls this, with T = 0 tokens if it has no more.

        Parameters
        ----------
        rows_TD : Tensor of shape (T, D)
        ids_TK : integer Tensor of shape (T, K)
            Of all E experts.
        weights_TK : Tensor of shape (T, K)
        path : str or callable
            How this rank computes its own experts, see `MoELayer`.

        Returns
        -------
        Tensor of shape (T, D), dtype of `rows_TD`
        """
        arrived_RD, local_ids_R, sent = dispatch(rows_TD, ids_TK, self.n_experts, self.ep)
        results_RD = self.compute(arrived_RD, local_ids_R, path)
        return combine(results_RD, weights_TK, sent, self.ep).to(rows_TD.dtype)

    def compute(self, rows_RD: Tensor, local_ids_R: Tensor, path: Path = "auto") -> Tensor:
        """Give each row to its expert; rows arrive by sender, and the path sorts them by expert."""
        gate_up_proj, down_proj = local(self.gate_up_proj), local(self.down_proj)
        if len(rows_RD) == 0:
            # Nothing to compute, and yet a part of the graph: the backward must reach the exchange, where the
            # other ranks wait, and leave gradients of 0.
            return rows_RD + 0 * (gate_up_proj.flatten()[0] + down_proj.flatten()[0])
        ones_R1 = rows_RD.new_ones(len(rows_RD), 1, dtype=torch.float32)
        return through_swiglu(path, rows_RD, local_ids_R.unsqueeze(1), ones_R1, gate_up_proj, down_proj)

    def extra_repr(self) -> str:
        """Show the sizes in the module's printed form."""
        _, d_model, d_expert = self.down_proj.shape
        each = self.n_experts // self.ep.size()
        return f"n_experts={self.n_experts}, {each} of them here, d_model={d_model}, d_expert={d_expert}"


def local(tensor: Any) -> Tensor:
    """Return this rank's part of a DTensor; another tensor as it is.

    Examples
    --------
    >>> local(torch.tensor([1.0]))
    tensor([1.])
    """
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def ep_of(mesh: DeviceMesh) -> DeviceMesh:
    """Return the dimension along which experts are shared."""
    return mesh[EP] if mesh.ndim > 1 else mesh


def shard_experts(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Leave each rank its share of the experts of every MoE layer in a model; change it in place.

    Routers, shared experts and all else stay whole on every rank. All ranks call this together, with the same
    weights. The gradients then need `reduce_experts`, and the optimizer a group of its own for the experts:
    PyTorch's fused and foreach optimizers refuse a mix of DTensors and others.

    Parameters
    ----------
    model : Module
        Holds layers of type `MoELayer`.
    mesh : DeviceMesh
        As `expert_mesh` makes it.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    ValueError
        If there is no MoE layer with SwiGLU experts, experts cannot be dealt out evenly, or ranks have
        different layers.

    Examples
    --------
    >>> from moe_lessons.parallel import alone
    >>> layer = MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2)
    >>> before = layer(torch.ones(3, 8)).hidden
    >>> with alone() as mesh:
    ...     after = shard_experts(layer, mesh)(torch.ones(3, 8)).hidden
    >>> bool((before - after).abs().max() < 1e-6), layer.path_for()
    (True, 'ep')
    """
    layers = [module for module in model.modules() if isinstance(module, MoELayer)]
    if not layers:
        raise ValueError(f"model is a {type(model).__name__} without a MoELayer: nothing to share out")
    for layer in layers:
        if not isinstance(layer.experts, SwiGLUExperts):
            raise ValueError(
                f"experts are {type(layer.experts).__name__}: only SwiGLUExperts can be shared out"
            )
    _same_everywhere([described(layer) for layer in layers], mesh)
    for layer in layers:
        layer.experts = cast(Any, LocalExperts(cast(SwiGLUExperts, layer.experts), mesh))
    return model


def banks(model: nn.Module) -> list[LocalExperts]:
    """List the banks that `shard_experts` made."""
    return [module for module in model.modules() if isinstance(module, LocalExperts)]


def mesh_of(model: nn.Module) -> DeviceMesh | None:
    """Return the mesh that a model's experts lie on; None where they are whole.

    Examples
    --------
    >>> mesh_of(nn.Linear(2, 2)) is None
    True
    """
    found = banks(model)
    return found[0].mesh if found else None


def described(layer: MoELayer) -> str:
    """Say what must be equal on all ranks.

    Examples
    --------
    >>> described(MoELayer(d_model=8, d_expert=16, n_experts=4, top_k=2))
    'E=4, K=2, D=8, F=16, topk_softmax; swiglu'
    """
    spec = layer.spec
    return f"E={spec.n_experts}, K={spec.top_k}, D={spec.d_model}, F={spec.d_expert}, {spec.describe()}"


def _same_everywhere(layers: list[str], mesh: DeviceMesh) -> None:
    """Compare the layers over all ranks: else numbers of another expert could arrive unnoticed."""
    group = mesh.get_group() if mesh.ndim == 1 else None  # None: all ranks
    found: list[Any] = [None] * mesh.size()
    distributed.all_gather_object(found, layers, group=group)
    for rank, theirs in enumerate(found):
        if theirs != found[0]:
            there, here = (f"{len(names)} layers, the first with {names[0]}" for names in (found[0], theirs))
            raise ValueError(
                f"rank {rank} of {len(found)} has other MoE layers than rank 0, {there} -> {here}: "
                "start all ranks with the same settings"
            )

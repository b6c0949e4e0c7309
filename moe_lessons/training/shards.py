"""Tensors that are cut over ranks: put together for a checkpoint, and cut again when it is read."""

from torch import Tensor

from moe_lessons.model import MoETransformer
from moe_lessons.training.distributed import Ranks


# Shards are known by `full_tensor`: importing DTensor takes a second, which one process can do without.
def whole(tensor: Tensor, *, keep: bool = True) -> Tensor:
    """Gather the shards of a tensor on the CPU; all ranks must ask. One that is whole is returned as it is.

    Parameters
    ----------
    tensor : Tensor
    keep : bool
        False returns an empty tensor, for ranks that only help the first to gather.
    """
    if not hasattr(tensor, "full_tensor"):
        return tensor
    gathered = tensor.full_tensor()
    return gathered.cpu() if keep else gathered.new_empty(0)


def share(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut a whole tensor, which every rank holds, as another one is cut."""
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    # No source rank: each takes its part of its own copy, and nothing is sent.
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def gathered(model: MoETransformer, ranks: Ranks) -> MoETransformer:
    """Put shards together to a whole model, on the first rank's CPU; without shards, return the model."""
    if not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return model
    tensors = {name: whole(tensor, keep=ranks.first) for name, tensor in model.state_dict().items()}
    if not ranks.first:
        return model
    copy = MoETransformer(model.config)
    copy.load_state_dict(tensors)
    return copy

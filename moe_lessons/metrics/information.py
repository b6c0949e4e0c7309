"""What a choice of experts tells about something else: mutual information, and its value by chance."""

import torch
from torch import Tensor


def mutual_information(experts_N: Tensor, labels_N: Tensor) -> float:
    """Bits that the expert of a token tells about its label, or the label about the expert.

    Parameters
    ----------
    experts_N, labels_N : integer Tensor of shape (N,)
        0 or more each; numbers that do not occur change nothing.

    Returns
    -------
    float
        From 0, independent, to the smaller of the two entropies. Of a sample it is above 0 even where there
        is nothing to tell, by about (experts - 1)(labels - 1) / (2 N ln 2): compare with
        `shuffled_information`.

    Raises
    ------
    ValueError
        If there is no token, the two differ in shape, or a number is negative.

    References
    ----------
    Shannon, A Mathematical Theory of Communication (1948), section 12; Miller, Note on the bias of
    information estimates (1955).

    Examples
    --------
    >>> experts = torch.tensor([0, 0, 1, 1])
    >>> mutual_information(experts, torch.tensor([7, 7, 3, 3])), mutual_information(experts, experts % 1)
    (1.0, 0.0)
    """
    _check(experts_N, labels_N)
    n_labels = int(labels_N.max()) + 1
    counts = torch.bincount(experts_N.long() * n_labels + labels_N.long()).double()
    counts = torch.nn.functional.pad(counts, (0, -len(counts) % n_labels)).view(-1, n_labels)
    joint = counts / counts.sum()
    apart = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0, keepdim=True)
    seen = joint > 0
    return max(0.0, (joint[seen] * (joint[seen] / apart[seen]).log2()).sum().item())


def shuffled_information(
    experts_N: Tensor,
    labels_N: Tensor,
    generator: torch.Generator,
    *,
    n_shuffles: int = 10,
    within_N: Tensor | None = None,
) -> Tensor:
    """Mutual information after the labels were shuffled: what chance alone gives.

    Parameters
    ----------
    experts_N, labels_N : integer Tensor of shape (N,)
    generator : torch.Generator
    n_shuffles : int
    within_N : integer Tensor of shape (N,), optional
        Labels change places among tokens of the same group only. What is left then is what the group tells
        of the label, such as what a byte gives away of the kind of text that it comes from.

    Returns
    -------
    Tensor of shape (n_shuffles,), in bits

    Examples
    --------
    >>> ids = torch.arange(300) % 3
    >>> chance = shuffled_information(ids, ids, torch.Generator().manual_seed(0))
    >>> bool(mutual_information(ids, ids) > 50 * chance.max())
    True
    >>> shuffled_information(ids, ids, torch.Generator(), within_N=ids, n_shuffles=2)  # log2(3)
    tensor([1.5850, 1.5850])
    """
    groups_N = torch.zeros_like(labels_N) if within_N is None else within_N
    in_groups = groups_N.argsort(stable=True)
    found = []
    for _ in range(n_shuffles):
        drawn = torch.randperm(len(labels_N), generator=generator)
        shuffled = drawn[groups_N[drawn].argsort(stable=True)]
        labels = torch.empty_like(labels_N)
        labels[in_groups] = labels_N[shuffled]
        found.append(mutual_information(experts_N, labels))
    return torch.tensor(found)


def _check(experts_N: Tensor, labels_N: Tensor) -> None:
    if experts_N.dim() != 1 or experts_N.shape != labels_N.shape or not len(experts_N):
        shapes = f"{tuple(experts_N.shape)}, labels_N {tuple(labels_N.shape)}"
        raise ValueError(f"experts_N has shape {shapes}: give one of each for at least one token")
    for name, values_N in (("experts_N", experts_N), ("labels_N", labels_N)):
        # A negative number would pass for another pair's: leave tokens without a label out.
        if values_N.is_floating_point() or int(values_N.min()) < 0:
            raise ValueError(f"{name} is {values_N.dtype}, from {values_N.min()} on: give 0, 1, 2, ...")

"""What a choice of experts tells about something else: mutual information, and its value by chance."""

import math

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
    orders = (order_within(groups_N, generator) for _ in range(n_shuffles))
    return torch.tensor([mutual_information(experts_N, labels_N[order_N]) for order_N in orders])


def order_within(groups_N: Tensor, generator: torch.Generator) -> Tensor:
    """Draw an order in which every token takes the place of a token of its own group.

    Parameters
    ----------
    groups_N : integer Tensor of shape (N,)
    generator : torch.Generator

    Returns
    -------
    Tensor of shape (N,), int64
        Token n gets what token ``order_N[n]`` had: ``groups_N[order_N]`` is ``groups_N``.

    Examples
    --------
    >>> groups = torch.tensor([0, 1, 0, 1, 0])
    >>> groups[order_within(groups, torch.Generator().manual_seed(0))]
    tensor([0, 1, 0, 1, 0])
    """
    drawn_N = torch.randperm(len(groups_N), generator=generator)
    order_N = torch.empty_like(drawn_N)
    order_N[groups_N.argsort(stable=True)] = drawn_N[groups_N[drawn_N].argsort(stable=True)]
    return order_N


def conditional_information(experts_N: Tensor, labels_N: Tensor, given_N: Tensor) -> float:
    """Bits that the expert tells about the label to someone who knows a third thing already.

    I(expert; label | given) = H(expert, given) + H(label, given) - H(expert, label, given) - H(given). With
    the token as `given` it is what an expert tells of the domain beyond what the token gives away.

    Parameters
    ----------
    experts_N, labels_N, given_N : integer Tensor of shape (N,)
        0 or more each.

    Returns
    -------
    float
        0 or more. Of a sample it is above 0 by about `information_by_chance`, and that is much where tokens
        of the same kind are few.

    Raises
    ------
    ValueError
        As `mutual_information`.

    Examples
    --------
    >>> token, expert = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1])
    >>> conditional_information(expert, token, token), conditional_information(expert, token, token * 0)
    (0.0, 1.0)
    """
    _check(experts_N, labels_N)
    _check(given_N, labels_N, "given_N")
    both = _bits(experts_N, given_N) + _bits(labels_N, given_N)
    return max(0.0, both - _bits(experts_N, labels_N, given_N) - _bits(given_N))


def information_by_chance(experts_N: Tensor, labels_N: Tensor, given_N: Tensor | None = None) -> float:
    """Bits that a sample shows on average where expert and label are independent: Miller's first-order term.

    (experts - 1)(labels - 1) / (2 N ln 2), with the numbers that occur; with `given_N` one such term for each
    of its values, added up. It is off where cells are nearly empty; shuffling is not.

    Parameters
    ----------
    experts_N, labels_N : integer Tensor of shape (N,)
    given_N : integer Tensor of shape (N,), optional

    Returns
    -------
    float

    References
    ----------
    Miller, Note on the bias of information estimates (1955).

    Examples
    --------
    >>> ids = torch.arange(100)
    >>> round(information_by_chance(ids % 2, ids % 3), 4)  # 1 * 2 / (200 ln 2)
    0.0144
    """
    _check(experts_N, labels_N)
    groups_N = torch.zeros_like(labels_N) if given_N is None else given_N
    _check(groups_N, labels_N, "given_N")
    free = 0
    for group in groups_N.unique():
        mine = groups_N == group
        free += (len(experts_N[mine].unique()) - 1) * (len(labels_N[mine].unique()) - 1)
    return free / (2 * len(labels_N) * math.log(2))


def _bits(*labels: Tensor) -> float:
    """Entropy of several labels taken together, in bits."""
    shares = torch.stack(labels).unique(dim=1, return_counts=True)[1].double() / len(labels[0])
    return -(shares * shares.log2()).sum().item()


def _check(experts_N: Tensor, labels_N: Tensor, what: str = "experts_N") -> None:
    if experts_N.dim() != 1 or experts_N.shape != labels_N.shape or not len(experts_N):
        shapes = f"{tuple(experts_N.shape)}, labels_N {tuple(labels_N.shape)}"
        raise ValueError(f"{what} has shape {shapes}: give one of each for at least one token")
    for name, values_N in ((what, experts_N), ("labels_N", labels_N)):
        # A negative number would pass for another pair's: leave tokens without a label out.
        if values_N.is_floating_point() or int(values_N.min()) < 0:
            raise ValueError(f"{name} is {values_N.dtype}, from {values_N.min()} on: give 0, 1, 2, ...")

"""Product keys: the best of n times m keys for the price of n plus m, and a layer of very many experts.

Shapes: T tokens, P query width, H = P/2, N and M keys in the two halves, K chosen.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def product_topk(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Find the K best of N times M keys, exactly, without scoring them all.

    Key ``i * M + j`` is row i of the first table with row j of the second behind it, so its score is a sum.
    A pair can be among the K best only if each half is among the K best of its table: otherwise K pairs
    with the same other half beat it. So K times K sums are looked at, and N + M products made.

    Parameters
    ----------
    query_TP : Tensor of shape (T, 2 H)
    first_NH, second_MH : Tensor of shape (N, H) and (M, H)
    top_k : int
        K, at most N and at most M.

    Returns
    -------
    ids_TK : int64 Tensor of shape (T, K)
        Best first.
    scores_TK : Tensor of shape (T, K)

    Raises
    ------
    ValueError
        If K is out of range, or the query has not twice the width of a half.

    References
    ----------
    Lample et al., "Large Memory Layers with Product Keys", arXiv:1907.05242, section 3.2; as a router: He,
    "Mixture of A Million Experts", arXiv:2407.04153, section 2.

    Examples
    --------
    >>> query_TP = torch.tensor([[1.0, 1.0]])
    >>> first_NH, second_MH = torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    >>> product_topk(query_TP, first_NH, second_MH, top_k=2)  # 5 + 3 is key 1 * 3 + 2
    (tensor([[5, 4]]), tensor([[8., 7.]]))
    """
    _check(query_TP, first_NH, second_MH, top_k)
    half = first_NH.shape[1]
    first_TK, rows_TK = (query_TP[:, :half] @ first_NH.T).topk(top_k)
    second_TK, columns_TK = (query_TP[:, half:] @ second_MH.T).topk(top_k)
    sums_TS = (first_TK.unsqueeze(2) + second_TK.unsqueeze(1)).flatten(1)
    scores_TK, places_TK = sums_TS.topk(top_k)
    rows_TK, columns_TK = rows_TK.gather(1, places_TK // top_k), columns_TK.gather(1, places_TK % top_k)
    return rows_TK * len(second_MH) + columns_TK, scores_TK


def score_all(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Compute what `product_topk` does, with a score for every one of the N times M keys.

    Examples
    --------
    >>> first_NH, second_MH = torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    >>> score_all(torch.tensor([[1.0, 1.0]]), first_NH, second_MH, top_k=2)
    (tensor([[5, 4]]), tensor([[8., 7.]]))
    """
    _check(query_TP, first_NH, second_MH, top_k)
    N, M = len(first_NH), len(second_MH)
    keys_SP = torch.cat([first_NH.repeat_interleave(M, 0), second_MH.repeat(N, 1)], dim=1)
    scores_TK, ids_TK = (query_TP @ keys_SP.T).topk(top_k)
    return ids_TK, scores_TK


def _check(query_TP: Tensor, first_NH: Tensor, second_MH: Tensor, top_k: int) -> None:
    width, halves = query_TP.shape[1], (first_NH.shape[1], second_MH.shape[1])
    if halves != (width // 2, width - width // 2):
        raise ValueError(f"query_TP has width {width} and the keys {halves[0]} and {halves[1]}: halve it")
    most = min(len(first_NH), len(second_MH))
    if not 1 <= top_k <= most:
        raise ValueError(f"top_k is {top_k} with {most} keys in a half: choose 1 to {most}")


class PEER(nn.Module):
    """n times n experts of one hidden unit each, a few of which every head looks up by product keys.

    Parameters
    ----------
    d_model : int
    n_keys : int
        Keys in a half; there are n_keys ** 2 experts.
    n_heads, top_k : int
        Every head has a query of its own, and K experts.
    d_query : int
        Width of a query, an even number.

    Raises
    ------
    ValueError
        If `d_query` is odd, or K is larger than `n_keys`. In training, if there is a single token: the
        queries are normalised over the batch, as in the paper.

    References
    ----------
    He, "Mixture of A Million Experts", arXiv:2407.04153, section 2.

    Examples
    --------
    >>> layer = PEER(8, n_keys=16, n_heads=2, top_k=4)
    >>> layer(torch.randn(5, 8)).shape, layer.down.num_embeddings
    (torch.Size([5, 8]), 256)
    """

    def __init__(self, d_model: int, n_keys: int, n_heads: int, top_k: int, d_query: int = 16) -> None:
        super().__init__()
        if d_query % 2:
            raise ValueError(f"d_query is {d_query}: a query has two halves, so choose an even number")
        if not 1 <= top_k <= n_keys:
            raise ValueError(f"top_k is {top_k} with {n_keys} keys in a half: choose 1 to {n_keys}")
        self.top_k, self.d_query = top_k, d_query
        self.query, self.norm = nn.Linear(d_model, n_heads * d_query), nn.BatchNorm1d(n_heads * d_query)
        self.first = nn.Parameter(torch.randn(n_keys, d_query // 2))
        self.second = nn.Parameter(torch.randn(n_keys, d_query // 2))
        self.down, self.up = nn.Embedding(n_keys**2, d_model), nn.Embedding(n_keys**2, d_model)
        nn.init.normal_(self.down.weight, std=d_model**-0.5)
        nn.init.normal_(self.up.weight, std=(n_heads * top_k) ** -0.5)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Return the weighted sum of every token's experts, (T, D)."""
        T = len(hidden_TD)
        if self.training and T == 1:
            raise ValueError(
                "hidden_TD has 1 token: training normalises over a batch, so give 2 or more, or call eval()"
            )
        queries_SP = self.norm(self.query(hidden_TD)).view(-1, self.d_query)
        ids_SK, scores_SK = product_topk(queries_SP, self.first, self.second, self.top_k)
        weights_TC, ids_TC = scores_SK.softmax(-1).view(T, -1), ids_SK.view(T, -1)
        units_TC = F.gelu((self.down(ids_TC) @ hidden_TD.unsqueeze(2)).squeeze(2)) * weights_TC
        return (units_TC.unsqueeze(1) @ self.up(ids_TC)).squeeze(1)

    def extra_repr(self) -> str:
        """Number of experts, and how many a token uses."""
        return f"experts={self.down.num_embeddings:,}, top_k={self.top_k}"

"""A memory that is addressed by the text itself: a row for the last bytes, found by a hash.

Shapes: B sequences, L positions, D width, R rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACTORS = (1_000_003, 8_191, 131_071, 524_287)  # odd, one for each byte back; fixed, so that rows stay
MAX_ROWS = 2**31


def hashed_rows(tokens_BL: Tensor, order: int, n_rows: int) -> Tensor:
    """Return the row of a table for the `order` last tokens of every position.

    Before the first token there are zeros. Different n-grams may share a row: `collisions` counts them.

    Parameters
    ----------
    tokens_BL : int64 Tensor of shape (B, L)
    order : int
        1 to 4.
    n_rows : int
        R, at most 2 ** 31.

    Returns
    -------
    int64 Tensor of shape (B, L)

    Raises
    ------
    ValueError
        If `order` or `n_rows` is out of range.

    Examples
    --------
    >>> hashed_rows(torch.tensor([[7, 7, 7]]), order=2, n_rows=1000)  # the same two bytes: the same row
    tensor([[ 21, 358, 358]])
    """
    if not 1 <= order <= len(FACTORS):
        raise ValueError(f"order is {order}: choose 1 to {len(FACTORS)}")
    if not 1 <= n_rows <= MAX_ROWS:
        raise ValueError(f"n_rows is {n_rows}: choose 1 to {MAX_ROWS:,}")
    L = tokens_BL.shape[1]
    back = (F.pad(tokens_BL, (i, 0))[:, :L] * FACTORS[i] for i in range(order))
    return torch.stack(tuple(back)).sum(0) % n_rows


def collisions(tokens_BL: Tensor, order: int, n_rows: int) -> tuple[int, int]:
    """Count the different n-grams of a text, and how many of them share their row with another.

    Examples
    --------
    >>> tokens_BL = torch.tensor([[1, 2, 3, 1, 2, 3]])  # (0 1) (1 2) (2 3) (3 1)
    >>> collisions(tokens_BL, 2, 1000), collisions(tokens_BL, 2, 1)
    ((4, 0), (4, 4))
    """
    L = tokens_BL.shape[1]
    back = [F.pad(tokens_BL, (i, 0))[:, :L] for i in range(order)]
    grams_GO, which_N = torch.stack(back, -1).flatten(0, 1).unique(dim=0, return_inverse=True)
    rows_N = hashed_rows(tokens_BL, order, n_rows).flatten()
    rows_G = torch.empty(len(grams_GO), dtype=torch.int64).scatter(0, which_N, rows_N)
    _, alike_G, times = rows_G.unique(return_inverse=True, return_counts=True)
    return len(grams_GO), int((times[alike_G] > 1).sum())


class NGramMemory(nn.Module):
    """Tables of rows for the last two and the last three tokens, added up and gated by the stream.

    Which rows are read depends on the tokens alone, and so they can be fetched before the layer is reached.

    Parameters
    ----------
    d_model : int
    n_rows : int
        Rows of all tables together; equally many for each order.
    orders : tuple of int

    Raises
    ------
    ValueError
        If there is not a row for each order.

    References
    ----------
    After Cheng et al., "Conditional Memory via Scalable Lookup" (Engram), arXiv:2601.07372.

    Examples
    --------
    >>> memory = NGramMemory(8, n_rows=100)
    >>> memory(torch.randn(1, 5, 8), torch.zeros(1, 5, dtype=torch.int64)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, d_model: int, n_rows: int, orders: tuple[int, ...] = (2, 3)) -> None:
        super().__init__()
        if n_rows < len(orders):
            raise ValueError(f"n_rows is {n_rows}: give one or more for each of the {len(orders)} orders")
        self.orders = orders
        self.tables = nn.ModuleList(nn.Embedding(n_rows // len(orders), d_model) for _ in orders)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.02)  # type: ignore[arg-type]
        self.key, self.norm = nn.Linear(d_model, d_model, bias=False), nn.RMSNorm(d_model)

    def forward(self, stream_BLD: Tensor, tokens_BL: Tensor) -> Tensor:
        """Return what the memory adds to the stream, (B, L, D)."""
        rows_BLD = torch.zeros_like(stream_BLD)
        for order, table in zip(self.orders, self.tables, strict=True):
            rows_BLD = rows_BLD + table(hashed_rows(tokens_BL, order, table.num_embeddings))  # type: ignore[arg-type]
        fit_BL1 = (self.norm(stream_BLD) * self.key(rows_BLD)).sum(-1, keepdim=True)
        return (fit_BL1 / stream_BLD.shape[-1] ** 0.5).sigmoid() * rows_BLD

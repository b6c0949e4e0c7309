"""A selective state space: a sum over the past that decays as the input says; as a loop and as a matrix.

Shapes: L positions, P width of a head, N width of its state, H heads, B sequences, D = H P.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def selective_scan(x: Tensor, b: Tensor, c: Tensor, log_decay: Tensor) -> Tensor:
    """Read a decaying sum of outer products, all positions at once.

    ``y_t = sum over s <= t of (c_t . b_s) exp(a_{s+1} + ... + a_t) x_s``: attention without a softmax, with
    a mask that is not 0 or 1 but what is left of position s at position t.

    Parameters
    ----------
    x : Tensor of shape (..., L, P)
        What is written.
    b, c : Tensor of shape (..., L, N)
        Where it is written to, and where it is read from.
    log_decay : Tensor of shape (..., L)
        a, at most 0: before position t writes, the state is multiplied by ``exp(a_t)``.

    Returns
    -------
    Tensor of shape (..., L, P)

    Raises
    ------
    ValueError
        If a log decay is above 0.

    References
    ----------
    Dao and Gu, "Transformers are SSMs" (Mamba-2), arXiv:2405.21060, section 3 and equation 16.

    Examples
    --------
    >>> ones = torch.ones(3, 1)
    >>> selective_scan(torch.tensor([[1.0], [2.0], [4.0]]), ones, ones, torch.zeros(3)).flatten()
    tensor([1., 3., 7.])
    """
    _check(log_decay)
    past = log_decay.cumsum(-1)
    between = past.unsqueeze(-1) - past.unsqueeze(-2)
    earlier = torch.ones(between.shape[-2:], dtype=torch.bool).tril()
    left = between.masked_fill(~earlier, -torch.inf).exp()
    return ((c @ b.mT) * left) @ x


def selective_scan_loop(x: Tensor, b: Tensor, c: Tensor, log_decay: Tensor) -> Tensor:
    """Compute what `selective_scan` does, position by position, with a state of N times P numbers.

    Examples
    --------
    >>> ones = torch.ones(3, 1)
    >>> halved = torch.full((3,), 0.5).log()
    >>> selective_scan_loop(torch.tensor([[1.0], [2.0], [4.0]]), ones, ones, halved).flatten()
    tensor([1.0000, 2.5000, 5.2500])
    """
    _check(log_decay)
    state = x.new_zeros(*x.shape[:-2], b.shape[-1], x.shape[-1])
    read = []
    for t in range(x.shape[-2]):
        state = state * log_decay[..., t, None, None].exp()
        state = state + b[..., t, :, None] * x[..., t, None, :]
        read.append((c[..., t, None, :] @ state).squeeze(-2))
    return torch.stack(read, dim=-2)


def _check(log_decay: Tensor) -> None:
    largest = float(log_decay.detach().max()) if log_decay.numel() else 0.0
    if largest > 0:
        raise ValueError(f"log_decay has {largest:.3g}: a decay above 1 grows without end, give numbers <= 0")


class Selective(nn.Module):
    """A mixer without a cache: a short convolution, a selective scan for each head, and a gate.

    What is written, where, how strongly and how fast the state decays are all functions of the input.

    Parameters
    ----------
    d_model, n_heads : int
    d_state : int
        N; the state of one sequence has D times N numbers, however long it is.

    References
    ----------
    Dao and Gu, "Transformers are SSMs" (Mamba-2), arXiv:2405.21060, section 7.

    Examples
    --------
    >>> mixer = Selective(8, n_heads=2, d_state=4)
    >>> mixer(torch.randn(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, d_model: int, n_heads: int = 2, d_state: int = 16) -> None:
        super().__init__()
        self.n_heads, self.d_state = n_heads, d_state
        self.convolution = nn.Conv1d(d_model, d_model, 4, groups=d_model, padding=3)
        self.inner = nn.Linear(d_model, d_model + 2 * n_heads * d_state + n_heads, bias=False)
        self.rates = nn.Parameter(torch.linspace(1, 8, n_heads).log())
        self.start = nn.Parameter(torch.full((n_heads,), -2.0))
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, hidden_BLD: Tensor, scan: object = selective_scan) -> Tensor:
        """Mix positions; `scan` may be `selective_scan_loop`, which keeps a state instead of a matrix."""
        B, L, D = hidden_BLD.shape
        before_BLD = F.silu(self.convolution(hidden_BLD.mT)[..., :L].mT)
        wide = self.n_heads * self.d_state
        x, b, c, step = self.inner(before_BLD).split([D, wide, wide, self.n_heads], dim=-1)
        step_BHL = F.softplus(step + self.start).mT
        x, b, c = (z.view(B, L, self.n_heads, -1).transpose(1, 2) for z in (x, b, c))
        decay_BHL = -step_BHL * self.rates.exp().unsqueeze(-1)
        y_BHLP = scan(x * step_BHL.unsqueeze(-1), b, c, decay_BHL)  # type: ignore[operator]
        return self.out(y_BHLP.transpose(1, 2).reshape(B, L, D) * F.silu(self.gate(hidden_BLD)))

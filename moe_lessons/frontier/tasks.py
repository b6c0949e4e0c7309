"""What lesson 16 trains its small models on: coin flips, facts, pairs to recall, and text.

Shapes: B sequences, L positions, N examples, D width.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_lessons.data import load_corpus, training_batch
from moe_lessons.frontier.depth import Decide, MoDBlock
from moe_lessons.frontier.tiny import Batch, Block, CausalAttention, TinyModel, mlp
from moe_lessons.steps import each

ASKED_ELSEWHERE = -100  # the target of a position that nothing is asked of, as `cross_entropy` has it


def coin_flips(seed: int, *, n_sequences: int, length: int) -> Batch:
    """Return batches of fair random bits and the next ones: nothing before a bit tells anything about it.

    Examples
    --------
    >>> inputs_BL, targets_BL = coin_flips(0, n_sequences=2, length=5)(0)
    >>> inputs_BL.shape, bool((inputs_BL[:, 1:] == targets_BL[:, :-1]).all())
    (torch.Size([2, 5]), True)
    """
    generator = torch.Generator().manual_seed(seed)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        bits_BL = torch.randint(0, 2, (n_sequences, length + 1), generator=generator)
        return bits_BL[:, :-1], bits_BL[:, 1:]

    return batch


def coin_model(decide: Decide, seed: int, *, d_model: int = 32, length: int = 8) -> TinyModel:
    """Return a model of four blocks, of which the middle two are passed by half of the positions.

    Examples
    --------
    >>> coin_model("topk", seed=0)(torch.zeros(1, 8, dtype=torch.int64))[0].shape
    torch.Size([1, 8, 2])
    """

    def blocks() -> list[Block]:
        def parts() -> tuple[int, nn.Module, nn.Module]:
            return d_model, CausalAttention(d_model, 2), mlp(d_model, 2 * d_model)

        made = [Block(*parts())]
        made += [MoDBlock(*parts(), share=0.5, decide=decide) for _ in range(2)]
        return [*made, Block(*parts())]

    return TinyModel(blocks, d_model, 2, length, seed=seed)


class Facts:
    """Random pairs with a random label each: what can only be known by heart.

    Parameters
    ----------
    n_facts : int
        Of n_symbols squared pairs.
    n_symbols : int
        Also the number of labels.
    seed : int

    Examples
    --------
    >>> facts = Facts(100)
    >>> facts.pairs_N2.shape, facts.labels_N.max() < 32
    (torch.Size([100, 2]), tensor(True))
    """

    def __init__(self, n_facts: int, n_symbols: int = 32, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.n_symbols, self.seed = n_symbols, seed
        pairs_N = torch.randperm(n_symbols**2, generator=self.generator)[:n_facts]
        self.pairs_N2 = torch.stack([pairs_N // n_symbols, n_symbols + pairs_N % n_symbols], dim=1)
        self.labels_N = torch.randint(0, n_symbols, (n_facts,), generator=self.generator)

    def recalled(
        self, layer: Callable[[], nn.Module], steps: int, *, d_model: int = 32, lr: float = 3e-3
    ) -> float:
        """Train embeddings, one layer and a head on the facts, and return the share that comes back right.

        Parameters
        ----------
        layer : callable
            Returns a module from (N, D) to (N, D), or to a pair of that and a loss to be added.
        steps : int
            Of 256 facts each.
        d_model : int
        lr : float

        Returns
        -------
        float
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            between = layer()
            symbols = nn.Embedding(2 * self.n_symbols, d_model)
            norm, head = nn.LayerNorm(d_model), nn.Linear(d_model, self.n_symbols)
        parts = nn.ModuleList([between, symbols, norm, head])
        optimizer = torch.optim.AdamW(parts.parameters(), lr=lr, weight_decay=0.0, fused=True)

        def logits(places_N: Tensor) -> tuple[Tensor, Tensor | float]:
            sum_ND = symbols(self.pairs_N2[places_N]).sum(dim=1)
            worked = between(norm(sum_ND))
            worked_ND, extra = worked if isinstance(worked, tuple) else (worked, 0.0)
            return head(norm(sum_ND + worked_ND)), extra

        for step in each(range(steps), "step"):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - step / steps)
            places_N = torch.randint(0, len(self.labels_N), (256,), generator=self.generator)
            logits_NV, extra = logits(places_N)
            optimizer.zero_grad()
            (F.cross_entropy(logits_NV, self.labels_N[places_N]) + extra).backward()
            optimizer.step()
        parts.eval()
        with torch.no_grad():
            logits_NV, _ = logits(torch.arange(len(self.labels_N)))
            return float((logits_NV.argmax(-1) == self.labels_N).double().mean())


def pairs_to_recall(seed: int, *, n_pairs: int, n_keys: int, n_sequences: int) -> Batch:
    """Return batches of keys each with a value, then the same keys in another order, each to be answered.

    Values are numbers from `n_keys` to ``2 * n_keys - 1``. Only the second time that a key comes is a target.

    Examples
    --------
    >>> inputs_BL, targets_BL = pairs_to_recall(0, n_pairs=2, n_keys=5, n_sequences=1)(0)
    >>> inputs_BL.shape, targets_BL[0, :4].tolist()
    (torch.Size([1, 6]), [-100, -100, -100, -100])
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(n: int) -> Tensor:
        return torch.rand(n_sequences, n, generator=generator).argsort(dim=1)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        keys_BN = shuffled(n_keys)[:, :n_pairs]
        values_BN = n_keys + torch.randint(0, n_keys, keys_BN.shape, generator=generator)
        order_BN = shuffled(n_pairs)
        shown_BL = torch.stack([keys_BN, values_BN], dim=2).flatten(1)
        inputs_BL = torch.cat([shown_BL, keys_BN.gather(1, order_BN)], dim=1)
        nothing_BL = torch.full_like(shown_BL, ASKED_ELSEWHERE)
        return inputs_BL, torch.cat([nothing_BL, values_BN.gather(1, order_BN)], dim=1)

    return batch


class Recall(NamedTuple):
    """Share of answers right, of a state and of a cache."""

    state: float
    cache: float


def recall_untrained(n_pairs: int, d_state: int, *, d_value: int = 32, n_trials: int = 60) -> Recall:
    """Write random keys and values into a state of N times P numbers, ask for each, and count.

    The state is the sum of key times value that a scan without decay holds. The cache keeps all pairs and
    reads them by a sharp softmax. A value is one of 64 random codes; an answer is right if its code is the
    nearest.

    Parameters
    ----------
    n_pairs : int
    d_state, d_value : int
        N and P.
    n_trials : int

    Returns
    -------
    Recall

    Examples
    --------
    >>> recall_untrained(4, 64, n_trials=10)
    Recall(state=1.0, cache=1.0)
    """
    generator = torch.Generator().manual_seed(0)
    codes_VP = F.normalize(torch.randn(64, d_value, generator=generator), dim=1)
    right = torch.zeros(2)
    for _ in range(n_trials):
        keys_SN = F.normalize(torch.randn(n_pairs, d_state, generator=generator), dim=1)
        values_S = torch.randint(0, 64, (n_pairs,), generator=generator)
        state_NP = keys_SN.T @ codes_VP[values_S]
        attention_SS = (30 * keys_SN @ keys_SN.T).softmax(1)
        for i, answers_SP in enumerate((keys_SN @ state_NP, attention_SS @ codes_VP[values_S])):
            right[i] += ((answers_SP @ codes_VP.T).argmax(1) == values_S).double().mean()
    return Recall(*(right / n_trials).tolist())


def text_batches(seed: int, *, n_sequences: int = 16, length: int = 32) -> Batch:
    """Return batches of the course's English text, bytes and the next ones.

    Examples
    --------
    >>> inputs_BL, targets_BL = text_batches(0)(0)
    >>> inputs_BL.shape, bool((inputs_BL[:, 1:] == targets_BL[:, :-1]).all())
    (torch.Size([16, 32]), True)
    """
    train_N = load_corpus("language-reference", context_length=length).train_N
    return lambda step: training_batch(
        train_N, batch_size=n_sequences, context_length=length, seed=seed, step=step
    )


def held_out_text(n_windows: int = 256, length: int = 32) -> tuple[Tensor, Tensor]:
    """Return windows of the same text that no batch has, and their next bytes.

    Examples
    --------
    >>> [tuple(part.shape) for part in held_out_text(4)]
    [(4, 32), (4, 32)]
    """
    text_M = load_corpus("language-reference", context_length=length).validation_M
    n = min(n_windows, (len(text_M) - 1) // length) * length
    return text_M[:n].view(-1, length).long(), text_M[1 : n + 1].view(-1, length).long()

"""What a small model's experts learn: three kinds of text, the model at several steps, its bits by byte."""

import copy
import math
import unicodedata
from collections.abc import Collection, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.config import TrainConfig, preset
from moe_lessons.data import Corpus, as_tokens, language_reference, standard_library
from moe_lessons.model import MoETransformer
from moe_lessons.steps import each
from moe_lessons.training.run import Run

WINDOW = 64
BEFORE_THE_FIRST = 256  # the previous byte of a window's first one: a value that no byte has

SMALL = preset("lesson").override(
    n_layers=2,
    d_model=64,
    d_expert=64,
    context_length=WINDOW,
    batch_size=16,
    learning_rate=3e-3,
    warmup_steps=20,
    z_loss_weight=0.001,
    alpha=0.01,
    log_every=10**6,
    evaluate_every=10**6,
    device="cpu",
)
"""The settings of lesson 12's models: 2 layers of 8 experts, 2 for each byte, balanced over the batch."""


class Probe(NamedTuple):
    """Text of several kinds: a part to train on, and windows that no model trains on.

    Attributes
    ----------
    names : tuple of str
        The kinds; a domain's number is its place in it.
    corpus : Corpus
    windows_WL : Tensor of shape (W, L), int64
        The kinds one after the other, equally many windows of each.
    labels : dict of str to Tensor of shape (W * L,), int64
        "byte", "previous byte", "domain" and "position" of each byte of the windows.
    """

    names: tuple[str, ...]
    corpus: Corpus
    windows_WL: Tensor
    labels: dict[str, Tensor]


def character_names() -> bytes:
    """Return the names of Unicode characters in small letters, a line each, as this Python knows them.

    Examples
    --------
    >>> character_names().decode().splitlines()[0]
    'latin capital letter a with macron'
    """
    names = (unicodedata.name(chr(code), "") for code in range(0x100, 0x20000))
    kept = (name for name in names if name and not name.startswith(("CJK", "HANGUL SYLLABLE")))
    return "\n".join(kept).lower().encode()


def three_kinds(train_bytes: int = 200_000, probe_bytes: int = 8_192) -> Probe:
    """Equally much English, source code and names of characters; the end of each is kept back.

    Parameters
    ----------
    train_bytes, probe_bytes : int
        Of each kind; the probe is cut into windows of `WINDOW` bytes.

    Returns
    -------
    Probe

    Raises
    ------
    ValueError
        If `probe_bytes` is not a multiple of `WINDOW`, or a text is too short.

    Examples
    --------
    >>> probe = three_kinds(probe_bytes=128)
    >>> probe.windows_WL.shape, probe.labels["domain"][::128].tolist()
    (torch.Size([6, 64]), [0, 1, 2])
    """
    if probe_bytes < WINDOW or probe_bytes % WINDOW:
        raise ValueError(f"probe_bytes is {probe_bytes}: give a multiple of {WINDOW}")
    texts = {"English": language_reference(), "code": standard_library(), "names": character_names()}
    shortest = min(map(len, texts.values()))
    if train_bytes < 1 or train_bytes + probe_bytes > shortest:
        raise ValueError(f"train_bytes is {train_bytes}: give 1 to {shortest - probe_bytes}")
    train_N = torch.cat([as_tokens(text[:train_bytes]) for text in texts.values()])
    probe_DN = torch.stack([as_tokens(text[train_bytes:][:probe_bytes]) for text in texts.values()])
    windows_WL = probe_DN.reshape(-1, WINDOW).long()
    corpus = Corpus("three kinds of text", train_N, windows_WL.flatten(), sha256="")
    return Probe(tuple(texts), corpus, windows_WL, _labels(windows_WL, len(texts)))


def _labels(windows_WL: Tensor, n_kinds: int) -> dict[str, Tensor]:
    previous_WL = F.pad(windows_WL[:, :-1], (1, 0), value=BEFORE_THE_FIRST)
    return {
        "byte": windows_WL.flatten(),
        "previous byte": previous_WL.flatten(),
        "domain": torch.arange(n_kinds).repeat_interleave(windows_WL.numel() // n_kinds),
        "position": torch.arange(windows_WL.shape[1]).repeat(len(windows_WL)),
    }


def train_and_keep(config: TrainConfig, corpus: Corpus, steps: Collection[int]) -> dict[int, MoETransformer]:
    """Train, and keep the model as it is after some of the steps; 0 is the untrained one.

    Parameters
    ----------
    config : TrainConfig
    corpus : Corpus
    steps : collection of int
        0 to ``config.steps`` each.

    Returns
    -------
    dict of int to MoETransformer
        In evaluation mode, in order of their steps.

    Raises
    ------
    ValueError
        If a step is beyond the last.

    Examples
    --------
    >>> kept = train_and_keep(SMALL.override(steps=2, batch_size=1), three_kinds().corpus, (0, 2))
    >>> list(kept)
    [0, 2]
    """
    if steps and not 0 <= min(steps) <= max(steps) <= config.steps:
        raise ValueError(f"steps are {sorted(steps)}: keep those from 0 to config.steps={config.steps}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        run = Run(config, corpus, torch.device(config.device))
        run.open(None)
        run.model.train()
        kept = {0: _as_it_is(run.model)} if 0 in steps else {}
        for _ in each(range(config.steps), "step"):
            run.advance()
            if run.step in steps:
                kept[run.step] = _as_it_is(run.model)
    return kept


def _as_it_is(model: MoETransformer) -> MoETransformer:
    return copy.deepcopy(model).eval()


@torch.no_grad()
def choices(model: MoETransformer, windows_WL: Tensor) -> list[Tensor]:
    """Each layer's experts for every byte: integer tensors of shape (W * L, K), the best first.

    Examples
    --------
    >>> model = MoETransformer(SMALL.model)
    >>> [ids_TK.shape for ids_TK in choices(model, torch.zeros(3, 64).long())]
    [torch.Size([192, 2]), torch.Size([192, 2])]
    """
    return [routing.topk_ids_TK for routing in model(windows_WL).routings]


@torch.no_grad()
def byte_bits(model: MoETransformer, windows_WL: Tensor) -> Tensor:
    """Bits that the model pays for each byte of a window but the first: shape (W, L - 1).

    Examples
    --------
    >>> untrained = MoETransformer(SMALL.model, generator=torch.Generator().manual_seed(0))
    >>> bits = byte_bits(untrained, torch.zeros(2, 64).long())
    >>> bits.shape, bool((bits > 6).all())
    (torch.Size([2, 63]), True)
    """
    logits_BLV = model(windows_WL).logits_BLV[:, :-1]
    nats = F.cross_entropy(logits_BLV.transpose(1, 2), windows_WL[:, 1:], reduction="none")
    return nats / math.log(2)


class RoutedText(NamedTuple):
    """A text as a routing strip wants it: its bytes, and their experts at several steps of training.

    Attributes
    ----------
    tokens : list of str
        A byte each; one that is no ASCII character by its two hexadecimal digits.
    ids, weights : nested lists
        ``[step][layer][byte]`` are the K experts of a byte, or their weights.
    """

    tokens: list[str]
    ids: list[list[list[list[int]]]]
    weights: list[list[list[list[float]]]]


@torch.no_grad()
def routed_text(models: Iterable[MoETransformer], text: str) -> RoutedText:
    """Route any text through models of bytes, a window after the other.

    Parameters
    ----------
    models : iterable of MoETransformer
    text : str
        Read as UTF-8; windows are as long as each model's context.

    Returns
    -------
    RoutedText

    Raises
    ------
    ValueError
        If the text is empty.

    Examples
    --------
    >>> found = routed_text([MoETransformer(SMALL.model)], "caf\u00e9")
    >>> found.tokens, len(found.ids[0]), len(found.ids[0][0])
    (['c', 'a', 'f', 'c3', 'a9'], 2, 5)
    """
    raw = text.encode()
    if not raw:
        raise ValueError("text is empty: give a byte at least")
    found = RoutedText([chr(byte) if byte < 128 else f"{byte:02x}" for byte in raw], [], [])
    for model in models:
        parts = as_tokens(raw).long().split(model.config.context_length)
        layers = zip(*(model(part[None]).routings for part in parts), strict=True)
        joined = [
            [torch.cat([getattr(r, name) for r in layer]).tolist() for name in _OF_A_ROUTING]
            for layer in layers
        ]
        found.ids.append([ids for ids, _ in joined])
        found.weights.append([weights for _, weights in joined])
    return found


_OF_A_ROUTING = ("topk_ids_TK", "topk_weights_TK")

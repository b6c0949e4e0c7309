"""From a model's name and some files to a trace and a page."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from moe_lessons.inspect.analysis import findings
from moe_lessons.inspect.loading import Subject, available_bytes, find
from moe_lessons.inspect.recording import positions_and_domains, record
from moe_lessons.inspect.report import write_report
from moe_lessons.inspect.texts import Cut, cut
from moe_lessons.inspect.trace import InspectError, LayerTrace, Trace, save_trace

LENGTH = 1024  # tokens that a model reads at once, unless it was made for fewer
OVERHEAD = 1.15  # of activations and buffers beside the weights, for pieces of that length


@dataclass(frozen=True)
class Settings:
    """How to look: see the command's options."""

    tokens: int = 4096
    length: int | None = None
    dtype: str = "bf16"
    device: str | None = None
    download: bool = False
    untrained: bool = True
    logits: bool = True
    seed: int = 0


def run(
    model: str,
    texts: Sequence[Path],
    out: Path | None,
    settings: Settings,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Route texts through a model, write trace, numbers and page, and return the numbers.

    Raises
    ------
    InspectError
        If the model, the texts or the folder cannot be used; the message is one line.
    """
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    if not texts:
        raise InspectError("no text: name one or more files behind --text")
    subject = find(model, download=settings.download, dtype=settings.dtype, device=device)
    length = settings.length or min(LENGTH, subject.context or LENGTH)
    pieces = cut(
        texts, subject.encode, n_tokens=settings.tokens, length=length, vocab_size=subject.vocab_size
    )
    say(memory_line(subject))
    check_memory(subject, device)
    say(f"{subject.name}: routing {pieces.n_tokens:,} tokens of {len(texts)} file{'s' * (len(texts) > 1)}")
    layers = _routed(subject.load(), pieces, settings.logits)
    untrained: tuple[LayerTrace, ...] = ()
    if settings.untrained:
        say("and a copy with random weights, for comparison")
        untrained = _routed(subject.build(settings.seed), pieces, False)
    trace = _trace(subject, pieces, layers, untrained, settings, device)
    folder = out or Path("inspect") / subject.name.replace("/", "--")
    found = findings(trace, settings.seed)
    save_trace(trace, folder, with_logits=settings.logits)
    try:
        text = json.dumps(found, ensure_ascii=False, indent=1)
        (folder / "findings.json").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InspectError(f"cannot write to {folder}: {error.strerror or error}") from error
    write_report(trace, found, folder / "report.html")
    say(f"{folder / 'report.html'} is the page, {folder / 'trace.safetensors'} the trace")
    return found


def _routed(model: nn.Module, pieces: Cut, keep_logits: bool) -> tuple[LayerTrace, ...]:
    """Record, and let go of the model: trained and untrained one are never in memory together."""
    return record(model, pieces, keep_logits=keep_logits)


def _trace(
    subject: Subject,
    pieces: Cut,
    layers: tuple[LayerTrace, ...],
    untrained: tuple[LayerTrace, ...],
    settings: Settings,
    device: str,
) -> Trace:
    token_ids = torch.cat(pieces.pieces)
    positions, domains = positions_and_domains(pieces.pieces, pieces.domains)
    distinct, places = token_ids.unique(return_inverse=True)
    shown = subject.show(distinct.tolist())
    about: dict[str, Any] = {
        "torch": torch.__version__,
        "dtype": settings.dtype if subject.family != "moe-lessons" else "fp32",
        "device": device,
        "seed": settings.seed,
        "tokens read at once": max(len(piece) for piece in pieces.pieces),
    }
    return Trace(
        subject.name,
        subject.family,
        token_ids,
        positions,
        domains,
        [shown[place] for place in places.tolist()],
        pieces.names,
        layers,
        untrained,
        about,
    )


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Examples
    --------
    >>> check_device("cpu")
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InspectError(f"--device {device} is no device: choose cpu or cuda") from None
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise InspectError(f"--device {device} is not on this machine: choose cpu")


def memory_line(subject: Subject) -> str:
    """What loading will need, in a sentence."""
    if subject.weight_bytes is None:
        return f"{subject.name}: how much memory it needs is not known before it is loaded"
    free = available_bytes()
    line = f"{subject.name}: needs about {_size(OVERHEAD * subject.weight_bytes)} of memory"
    return line if free is None else f"{line}, {_size(free)} are free"


def check_memory(subject: Subject, device: str) -> None:
    """Refuse a model that does not fit, before anything is loaded.

    Raises
    ------
    InspectError
        If it needs more than is free.
    """
    if subject.weight_bytes is None:
        return
    free = available_bytes()
    if device.startswith("cuda"):
        free = torch.cuda.mem_get_info()[0]
    needed = OVERHEAD * subject.weight_bytes
    if free is not None and needed > free:
        raise InspectError(
            f"{subject.name} needs about {_size(needed)} of memory and {_size(free)} are free: choose a "
            "smaller model, a machine with more, or --dtype bf16"
        )


def _size(n_bytes: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"

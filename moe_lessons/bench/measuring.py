"""Measuring fairly: everyone's answer is checked first, then all take turns, in a new order each round."""

import gc
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from moe_lessons.bench.contestants import OURS, NotHere, Run, build
from moe_lessons.bench.limit import DenseChain, limits
from moe_lessons.bench.shapes import Case, Draw
from moe_lessons.dispatch import moe_unbind
from moe_lessons.routing import router_logits, topk_softmax

PASSES = ("forward", "forward_backward")
LARGEST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # relative, Frobenius; an all-zero answer has 1
SHORTEST_S = 0.004  # a sample repeats what is quicker than this
SLOW, SLOW_EVERY = 3, 5  # a peer three times slower than the quickest takes part in every fifth round only


def gradients(run: Run, case: Case, draw: Draw) -> list[Tensor]:
    """Run forward and backward; return the output and the gradients of tokens, weights and projections."""
    hidden_TD = draw.hidden_TD.detach().requires_grad_()
    weights_TK = draw.topk_weights_TK.detach().requires_grad_()
    for parameter in case.parameters():
        parameter.grad = None
    output_TD = run(hidden_TD, draw.topk_ids_TK, weights_TK)
    output_TD.backward(draw.d_output_TD)
    routing = case.router if case.shape.scope == "layer" else weights_TK
    leaves = (hidden_TD, routing, case.gate_up_proj, case.down_proj)
    return [output_TD.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def oracle(case: Case, draw: Draw) -> list[Tensor]:
    """Return what `gradients` should, computed in fp64 by the plain loop over experts."""
    exact = Case.__new__(Case)
    exact.shape, exact.device, exact.dtype = case.shape, case.device, torch.float64
    for name in ("gate_up_proj", "down_proj", "router"):
        value = torch.nn.Parameter(getattr(case, name).detach().double())
        setattr(exact, name, value)

    def run(hidden_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        if case.shape.scope == "layer":
            routing = topk_softmax(router_logits(hidden_TD, exact.router), case.shape.top_k)
            ids_TK, weights_TK = routing.topk_ids_TK, routing.topk_weights_TK
        return moe_unbind(hidden_TD, ids_TK, weights_TK, exact.gate_up_proj, exact.down_proj)

    return gradients(run, exact, Draw(*(t.double() if t.is_floating_point() else t for t in draw)))


def error_of(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest relative error among the output and the gradients; infinity if one is missing."""
    if len(found) != len(expected):
        return float("inf")
    errors = [
        float((mine.double() - exact).norm() / exact.norm())
        for mine, exact in zip(found, expected, strict=True)
    ]
    return max(error if error == error else float("inf") for error in errors)


def check(runs: dict[str, Run], case: Case, absent: dict[str, str]) -> dict[str, float]:
    """Drop from `runs` whoever fails or is wrong, saying why in `absent`; return the errors of the others."""
    draw = case.draw(0)
    expected = oracle(case, draw)
    errors = {}
    for name in list(runs):
        try:
            error = error_of(gradients(runs[name], case, draw), expected)
        except NotHere as reason:
            absent[name] = str(reason)
        except Exception as problem:  # a peer's compiler may raise anything
            absent[name] = f"failed: {(str(problem) or type(problem).__name__).splitlines()[0]}"
        else:
            errors[name] = error
            if not error <= LARGEST_ERROR[case.dtype]:
                absent[name] = f"wrong: relative error {error:.1e}"
        if name in absent:
            del runs[name]
    return errors


def measure(case: Case, rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Let all contestants take turns.

    Each round draws new tokens and a new routing, as training does, and a new order.

    Returns
    -------
    dict
        ``samples_ms[name][pass]`` lists one number for each round (peers that are far too slow to matter sit
        out most of them); ``absent`` says who didn't take part or
        was wrong, and why; ``errors`` are relative to an fp64 oracle.
    """
    runs, absent = build(case)
    errors = check(runs, case, absent)
    turns: dict[tuple[str, str], Callable[[Draw], None]] = {}
    for name, run in runs.items():
        turns[name, "forward"] = _forward(run)
        turns[name, "forward_backward"] = _forward_backward(run, case)
    for name, multiply in limits(case).items():
        chain = DenseChain(case, multiply)
        turns[name, "forward"] = _ignore_draw(chain.forward)
        turns[name, "forward_backward"] = _ignore_draw(chain.forward_backward)
    first = {key: max(_seconds(turn, case.draw(1), 1, case, clock), 1e-9) for key, turn in turns.items()}
    repeats = {key: max(1, min(50, int(SHORTEST_S / seconds))) for key, seconds in first.items()}
    slow = set()
    for which in PASSES:
        peers = [name for name in runs if name != OURS]
        quickest = min((first[name, which] for name in peers), default=0)
        slow |= {(name, which) for name in peers if first[name, which] > SLOW * quickest}
    samples: dict[str, dict[str, list[float]]] = {name: {p: [] for p in PASSES} for name, _ in turns}
    order = list(turns)
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            draw = case.draw(3 + number)
            shuffle(order)
            for name, which in order:
                if (name, which) in slow and number % SLOW_EVERY:
                    continue
                seconds = _seconds(turns[name, which], draw, repeats[name, which], case, clock)
                samples[name][which].append(1e3 * seconds)
            gc.collect()
    finally:
        gc.enable()
    return {"samples_ms": samples, "absent": absent, "errors": errors}


def _seconds(
    turn: Callable[[Draw], None], draw: Draw, repeats: int, case: Case, clock: Callable[[], float]
) -> float:
    for parameter in case.parameters():
        parameter.grad = None
    _wait(case)
    begin = clock()
    for _ in range(repeats):
        turn(draw)
    _wait(case)
    return (clock() - begin) / repeats


def _wait(case: Case) -> None:
    if case.device == "cuda":
        torch.cuda.synchronize()


def _forward(run: Run) -> Callable[[Draw], None]:
    def turn(draw: Draw) -> None:
        with torch.no_grad():
            run(*draw[:3])

    return turn


def _forward_backward(run: Run, case: Case) -> Callable[[Draw], None]:
    def turn(draw: Draw) -> None:
        gradients(run, case, draw)

    return turn


def _ignore_draw(step: Callable[[], None]) -> Callable[[Draw], None]:
    return lambda draw: step()

"""Answers to 04.revive as learners write them."""

import torch


def by_index(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    """No loop: one list of the dead, one of their donors, and three indexed writes."""
    dead = torch.where(counts_E == 0)[0]
    order = torch.argsort(counts_E, descending=True)[: int((counts_E > 0).sum())]
    donors = order[torch.arange(len(dead)) % len(order)]
    router_ED[dead] = router_ED[donors] + noise_ED[dead]
    experts_EP[dead] = experts_EP[donors]
    momentum_EP[dead] = 0
    return router_ED, experts_EP, momentum_EP


def by_source(router_ED, experts_EP, momentum_EP, counts_E, noise_ED):
    """Where does each row come from? Living experts from themselves."""
    source = torch.arange(len(counts_E))
    living = sorted((e for e in range(len(counts_E)) if counts_E[e]), key=lambda e: -int(counts_E[e]))
    for place, d in enumerate(e for e in range(len(counts_E)) if not counts_E[e]):
        source[d] = living[place % len(living)]
    is_dead = (counts_E == 0)[:, None]
    return (
        router_ED[source] + noise_ED * is_dead,
        experts_EP[source],
        torch.where(is_dead, torch.zeros_like(momentum_EP), momentum_EP),
    )


def loop(args, *, dead=None, donors=None, row=True, noise=True, weights="copy", momentum="zero"):
    """A learner's loop with one thing amiss."""
    router, experts, momentum_EP, counts, noise_ED = (x.clone() for x in args)
    dead = [e for e, c in enumerate(counts.tolist()) if c == 0] if dead is None else dead
    if donors is None:
        donors = [e for e in counts.argsort().flip(0).tolist() if counts[e] > 0]
    for i, d in enumerate(dead):
        donor = donors[i % len(donors)]
        if row:
            router[d] = router[donor] + (noise_ED[d] if noise else 0)
        experts[d] = experts[donor] if weights == "copy" else torch.zeros_like(experts[donor])
        if momentum == "zero":
            momentum_EP[d] = 0
        elif momentum == "donor":
            momentum_EP[d] = momentum_EP[donor]
    return router, experts, momentum_EP


def router_untouched(*args):
    return loop(args, row=False)


def momentum_kept(*args):
    return loop(args, momentum="keep")


def momentum_copied(*args):
    return loop(args, momentum="donor")


def all_reset(*args):
    router, experts, momentum = loop(args)
    return router, experts, momentum * 0


def twins(*args):
    return loop(args, noise=False)


def zeros(*args):
    return loop(args, weights="zeros")


def all_from_the_busiest(*args):
    return loop(args, donors=[int(args[3].argmax())])


def argmin(*args):
    counts = args[3]
    return loop(args, dead=[int(counts.argmin())] if counts.min() == 0 else [])


def everyone_below_the_mean(*args):
    counts = args[3].float()
    poor = (counts < counts.mean()).nonzero().flatten().tolist()
    rich = [e for e in counts.argsort(descending=True).tolist() if e not in poor]
    return loop(args, dead=poor, donors=rich)


def from_the_quietest(*args):
    counts = args[3]
    return loop(args, donors=[e for e in counts.argsort().tolist() if counts[e] > 0])


def from_the_first_that_live(*args):
    return loop(args, donors=[e for e in range(len(args[3])) if args[3][e] > 0])


WRONG = {
    "router_untouched": router_untouched,
    "momentum_kept": momentum_kept,
    "momentum_copied": momentum_copied,
    "all_momentum_reset": all_reset,
    "no_noise": twins,
    "zero_weights": zeros,
    "one_donor": all_from_the_busiest,
    "only_one": argmin,
    "quiet_too": everyone_below_the_mean,
    "least_busy": from_the_quietest,
    "in_order_of_id": from_the_first_that_live,
}
RIGHT = [by_index, by_source]

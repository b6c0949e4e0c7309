"""Answers to lesson 06 as learners write them: tests for causality."""

import torch

# Right


def by_truncation(route, logits_TE):
    """What a prefix gets alone against what it gets within longer texts."""
    for trial in range(5):
        z = logits_TE if trial == 0 else 2.0 * torch.randn_like(logits_TE)
        whole = route(z)
        for t in range(1, len(z)):
            if not torch.allclose(route(z[:t]), whole[:t], atol=1e-5):
                return True
    return False


def by_shuffling_and_negating(route, logits_TE):
    base = route(logits_TE)
    n = len(logits_TE)
    for t in range(1, n):
        for scale in (-3.0, -1.0, 0.0, 3.0):
            other = logits_TE.clone()
            other[t:] *= scale
            if float((route(other)[:t] - base[:t]).abs().max()) > 1e-5:
                return True
        for _ in range(5):
            other = logits_TE.clone()
            other[t:] = other[t:][torch.randperm(n - t)][:, torch.randperm(other.shape[1])]
            if float((route(other)[:t] - base[:t]).abs().max()) > 1e-5:
                return True
    return False


def by_random_futures(route, logits_TE):
    """Own prefixes, two random futures each."""
    for _ in range(200):
        t = int(torch.randint(1, len(logits_TE), ()))
        a, b = torch.randn(2, *logits_TE.shape) * 2
        b[:t] = a[:t]
        if (route(a)[:t] - route(b)[:t]).abs().sum() > 1e-4:
            return True
    return False


def by_one_prefix(route, logits_TE):
    """The given logits alone, cut at every position."""
    whole = route(logits_TE)
    gaps = [(route(logits_TE[:t]) - whole[:t]).abs().max() for t in range(1, logits_TE.shape[0])]
    return max(gaps) > 1e-5


def by_large_futures(scale, tolerance):
    """Few tries, with ends far larger than anything in the example."""

    def test(route, logits_TE):
        before = route(logits_TE)
        for t in range(1, len(logits_TE)):
            for _ in range(8):
                z = logits_TE.clone()
                z[t:] = scale * torch.randn(len(z) - t, z.shape[1])
                if not torch.allclose(route(z)[:t], before[:t], atol=tolerance):
                    return True
        return False

    return test


def by_poison(route, logits_TE):
    """Whoever touches the end becomes NaN; and ends of all sizes, for those who only rank."""
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        poisoned = logits_TE.clone()
        poisoned[t:] = float("nan")
        if not torch.allclose(route(poisoned)[:t], before[:t], atol=1e-5):
            return True
        for size in (0.3, 3.0, 30.0, 300.0):
            z = torch.cat([logits_TE[:t], size * torch.randn_like(logits_TE[t:])])
            if not torch.allclose(route(z)[:t], before[:t], atol=1e-5):
                return True
    return False


# Wrong


def compares_everything(route, logits_TE):
    other = logits_TE.clone()
    other[-1] = torch.randn_like(other[-1])
    return not torch.allclose(route(other), route(logits_TE), atol=1e-5)


def forgets_to_clone(route, logits_TE):
    for _ in range(50):
        other = logits_TE
        other[-1] = 2 * torch.randn(other.shape[1])
        if not torch.allclose(route(other)[:-1], route(logits_TE)[:-1], atol=1e-5):
            return True
    return False


def changes_the_first(route, logits_TE):
    before = route(logits_TE)
    for _ in range(50):
        other = logits_TE.clone()
        other[0] = 2 * torch.randn_like(other[0])
        if not torch.allclose(route(other)[1:], before[1:], atol=1e-5):
            return True
    return False


def compares_loads(route, logits_TE):
    before = (route(logits_TE) > 0).sum(dim=0)
    for _ in range(50):
        other = logits_TE.clone()
        other[-1] = 3 * torch.randn_like(other[-1])
        if not torch.equal((route(other) > 0).sum(dim=0), before):
            return True
    return False


def to_the_last_bit(route, logits_TE):
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for _ in range(20):
            other = logits_TE.clone()
            other[t:] = 3 * torch.randn_like(other[t:])
            if not torch.equal(route(other)[:t], before[:t]):
                return True
    return False


def compares_who(route, logits_TE):
    before = route(logits_TE) > 0
    for t in range(1, len(logits_TE)):
        for _ in range(20):
            other = logits_TE.clone()
            other[t:] = 2 * torch.randn_like(other[t:])
            if not torch.equal(route(other)[:t] > 0, before[:t]):
                return True
    return False


def compares_favourites(route, logits_TE):
    usual = route(logits_TE).argmax(-1)
    for n in range(300):
        t = 1 + n % (len(logits_TE) - 1)
        other = torch.cat([logits_TE[:t], (1 + n % 4) * torch.randn_like(logits_TE[t:])])
        if not torch.equal(route(other).argmax(-1)[:t], usual[:t]):
            return True
    return False


def by_gradient(route, logits_TE):
    """Asks autograd what earlier tokens owe to later ones."""
    for t in range(1, len(logits_TE)):
        z = logits_TE.clone().requires_grad_()
        earlier = (route(z)[:t] * torch.randn(t, z.shape[1])).sum()
        (grad,) = torch.autograd.grad(earlier, z)
        if grad[t:].abs().max() > 1e-5:
            return True
    return False


def watches_the_first(route, logits_TE):
    before = route(logits_TE)
    for _ in range(50):
        other = logits_TE.clone()
        other[-3:] = 2 * torch.randn_like(other[-3:])
        if not torch.allclose(route(other)[0], before[0], atol=1e-5):
            return True
    return False


def says_yes(route, logits_TE):
    return True


def writes_into_the_example(route, logits_TE):
    """`before` is of the first logits, and every try changes them further."""
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        other = logits_TE
        other[t:] = 2 * torch.randn(len(other) - t, other.shape[1])
        if not torch.allclose(route(other)[:t], before[:t], atol=1e-4):
            return True
    return False


def compares_the_changed(route, logits_TE):
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        other = logits_TE.clone()
        other[t:] = torch.randn_like(other[t:])
        if not torch.allclose(route(other)[t:], before[t:]):
            return True
    return False


def puts_in_another_order(route, logits_TE):
    for _ in range(50):
        order = torch.randperm(len(logits_TE))
        if not torch.allclose(route(logits_TE[order]), route(logits_TE)[order], atol=1e-5):
            return True
    return False


def nudges(route, logits_TE):
    """Small changes, everywhere and often."""
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for _ in range(10):
            other = logits_TE.clone()
            other[t:] += 1e-3 * torch.randn_like(other[t:])
            if not torch.allclose(route(other)[:t], before[:t], atol=1e-6):
                return True
    return False


def last_token(tries, size=2.0):
    def test(route, logits_TE):
        before = route(logits_TE)
        for _ in range(tries):
            other = logits_TE.clone()
            other[-1] = size * torch.randn(other.shape[1])
            if (route(other)[:-1] - before[:-1]).abs().max() > 1e-5:
                return True
        return False

    return test


def each_token_once(route, logits_TE):
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        other = logits_TE.clone()
        other[t] = 3 * torch.randn_like(other[t])
        if (route(other)[:t] - before[:t]).abs().max() > 1e-4:
            return True
    return False


def each_token_often(route, logits_TE):
    before = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for size in (1, 3, 10, 30):
            for _ in range(5):
                other = logits_TE.clone()
                other[t] = size * torch.randn_like(other[t])
                if (route(other)[:t] - before[:t]).abs().max() > 1e-4:
                    return True
    return False


def second_half(tries, size=2.0):
    def test(route, logits_TE):
        half = len(logits_TE) // 2
        before = route(logits_TE)[:half]
        for _ in range(tries):
            other = logits_TE.clone()
            other[half:] = size * torch.randn_like(other[half:])
            if not torch.allclose(route(other)[:half], before, atol=1e-5):
                return True
        return False

    return test


def is_causal(route, logits_TE):
    return not by_random_futures(route, logits_TE)


RIGHT = {
    "06.leaks_future": [
        by_truncation,
        by_shuffling_and_negating,
        by_random_futures,
        by_one_prefix,
        by_large_futures(30, 1e-4),
        by_large_futures(100, 1e-5),
        by_large_futures(1000, 1e-6),
        by_poison,
    ]
}
WRONG = {
    "06.leaks_future": {
        "all_leaky": compares_everything,
        "none_leaky": forgets_to_clone,
        "past_changed": changes_the_first,
        "loads_compared": compares_loads,
        "no_tolerance": to_the_last_bit,
        "choices_only": compares_who,
        "favourite_only": compares_favourites,
        "order_compared": puts_in_another_order,
        "choice_not_moved": by_gradient,
        "one_token_changed": each_token_often,
        "one_position": second_half(50),
        "one_token_watched": watches_the_first,
        "inverted": is_causal,
    },
}

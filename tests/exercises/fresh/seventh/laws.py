"""Lesson 11, the last two: laws."""

import math

import torch


def law(N, D, G):
    return 0.47 + (2.1 / G**0.58 + 18.1) / N**0.115 + 30.8 / D**0.147


def size_is_active(flops, expansion, granularities_N):
    best = None
    for G in granularities_N.tolist():
        for n in torch.logspace(math.log10(2), math.log10(400), 4000, dtype=torch.float64).tolist():
            d = 64 * n
            active = 12 * d**2 * n
            D = flops / ((12 * d**2 * 6 + d * expansion * G * 14) * n)
            loss = 0.47 + (2.1 / G**0.58 + 18.1) / active**0.115 + 30.8 / D**0.147
            if best is None or loss < best[3]:
                best = (G, active, D, loss)
    return best


def router_for_free(flops, expansion, granularities_N):
    best = None
    for G in granularities_N.tolist():
        for n in torch.logspace(math.log10(2), math.log10(400), 4000, dtype=torch.float64).tolist():
            d = 64 * n
            active = 12 * d**2 * n
            D = flops / (6 * active)
            loss = law((8 * expansion + 4) * d**2 * n, D, G)
            if best is None or loss < best[3]:
                best = (G, active, D, loss)
    return best


def returns_all_parameters(flops, expansion, granularities_N):
    best = None
    for G in granularities_N.tolist():
        for n in torch.logspace(math.log10(2), math.log10(400), 4000, dtype=torch.float64).tolist():
            d = 64 * n
            N = (8 * expansion + 4) * d**2 * n
            D = flops / ((12 * d**2 * 6 + d * expansion * G * 14) * n)
            loss = law(N, D, G)
            if best is None or loss < best[3]:
                best = (G, N, D, loss)
    return best


def whole_blocks(flops, expansion, granularities_N):
    best = None
    for G in granularities_N.tolist():
        for n in range(2, 401):
            d = 64 * n
            D = flops / ((12 * d**2 * 6 + d * expansion * G * 14) * n)
            loss = law((8 * expansion + 4) * d**2 * n, D, G)
            if best is None or loss < best[3]:
                best = (G, 12 * d**2 * n, D, loss)
    return best


def one_block_paid(flops, expansion, granularities_N):
    n = torch.logspace(math.log10(2), math.log10(400), 4000, dtype=torch.float64)
    d = 64 * n
    results = []
    for G in granularities_N.tolist():
        D = flops / (12 * d**2 * 6 + d * expansion * G * 14)
        loss = law((8 * expansion + 4) * d**2 * n, D, G)
        i = int(loss.argmin())
        results.append((loss[i].item(), G, (12 * d**2 * n)[i].item(), D[i].item()))
    loss, G, active, tokens = min(results)
    return G, active, tokens, loss


def constant_left_out(flops, expansion, granularities_N):
    n = torch.logspace(math.log10(2), math.log10(400), 4000, dtype=torch.float64)
    d = 64 * n
    results = []
    for G in granularities_N.tolist():
        D = flops / ((12 * d**2 * 6 + d * expansion * G * 14) * n)
        N = (8 * expansion + 4) * d**2 * n
        loss = (2.1 / G**0.58 + 18.1) / N**0.115 + 30.8 / D**0.147
        i = int(loss.argmin())
        results.append((loss[i].item(), G, (12 * d**2 * n)[i].item(), D[i].item()))
    loss, G, active, tokens = min(results)
    return G, active, tokens, loss


A, D_, GAMMA, BETA, START, MOST = 1.23, -7.61e-2, 1.67e-2, -1.17e-1, 1.63e-2, 5.28e16


def all_natural(activation, granularity, flops):
    hat = 1 / (1 / (activation + 1 / (1 / START - 1 / MOST)) + 1 / MOST)
    g = math.log(granularity)
    return hat ** (A + D_ * math.log(flops) + GAMMA * g**2 + BETA * g)


def all_to_ten(activation, granularity, flops):
    hat = 1 / (1 / (activation + 1 / (1 / START - 1 / MOST)) + 1 / MOST)
    g = math.log10(granularity)
    return hat ** (A + D_ * math.log10(flops) + GAMMA * g**2 + BETA * g)


def budget_natural(activation, granularity, flops):
    hat = 1 / (1 / (activation + 1 / (1 / START - 1 / MOST)) + 1 / MOST)
    g = math.log2(granularity)
    return hat ** (A + D_ * math.log(flops) + GAMMA * g**2 + BETA * g)


def plain_activation(activation, granularity, flops):
    g = math.log2(granularity)
    return activation ** (A + D_ * math.log10(flops) + GAMMA * g**2 + BETA * g)


def log_of_the_square(activation, granularity, flops):
    hat = 1 / (1 / (activation + 1 / (1 / START - 1 / MOST)) + 1 / MOST)
    exponent = A + D_ * math.log10(flops)
    exponent += GAMMA * math.log2(granularity**2) + BETA * math.log2(granularity)
    return hat**exponent


def start_not_inverted(activation, granularity, flops):
    hat = 1 / (1 / (activation + (1 / START - 1 / MOST)) + 1 / MOST)
    g = math.log2(granularity)
    return hat ** (A + D_ * math.log10(flops) + GAMMA * g**2 + BETA * g)


FRESH = {
    "11.compute_optimal": [
        ("N in the loss is the active parameters", size_is_active, {"active_in_the_loss"}),
        ("tokens = FLOPs / (6 · active): the router costs nothing", router_for_free, {"routing_is_free"}),
        ("all parameters returned, not the active ones", returns_all_parameters, {"total_returned"}),
        ("n runs over whole numbers only", whole_blocks, {"n_rounded"}),
        ("the price of a token without the factor n", one_block_paid, {"one_block"}),
        ("c left out, since it does not move the optimum", constant_left_out, {"without_the_floor"}),
    ],
    "11.leverage": [
        ("natural logarithms for both", all_natural, {"natural_both"}),
        ("base 10 for both", all_to_ten, {"ten_both"}),
        ("base 2 for G, natural for C", budget_natural, {"natural_c"}),
        ("A itself as the base, since Â is nearly A", plain_activation, {"not_saturated"}),
        ("(log G)² read as log(G²)", log_of_the_square, {"log_of_square"}),
        ("the inner ⁻¹ overlooked: A + (1/A_start - 1/A_max)", start_not_inverted, {"other_a_hat"}),
    ],
}

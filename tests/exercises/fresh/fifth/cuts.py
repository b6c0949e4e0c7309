"""The fifth set, lesson 11: the solutions' lines gone through one by one, and what can go wrong in each."""

import math

import torch
from fresh.fourth.cuts import costs, latent, split


def split_backwards(*args):
    return split(
        *args,
        cut=lambda rows, g: rows.chunk(g, 1)[::-1],
        columns=lambda down, g: torch.stack(down.chunk(g, 2)[::-1], 1).flatten(0, 1),
    )


def split_up_one_further(gate_up, down, router, g):
    gate, up = gate_up.chunk(2, 1)
    rolled = torch.cat([gate, up.roll(up.shape[1] // g, 1)], 1)
    return split(rolled, down, router, g)


def split_first_columns(*args):
    return split(*args, columns=lambda down, g: down[:, :, : down.shape[2] // g].repeat_interleave(g, 0))


def split_cat_everywhere(gate_up, down, router, g):
    gate, up = gate_up.chunk(2, 1)
    parts = [torch.cat(p, 1) for p in zip(gate.chunk(g, 1), up.chunk(g, 1), strict=True)]
    return torch.cat(parts), torch.cat(down.chunk(g, 2)), router.repeat(g, 1), g


def split_factor_squared(*args):
    return *split(*args)[:3], float(args[3] ** 2)


def split_masked(gate_up, down, router, g):
    """Zeros where other slices are, at the old width."""
    E, _, width = down.shape
    slices, downs = [], []
    for e in range(E):
        for s in range(g):
            keep = torch.zeros(width)
            keep[s * width // g : (s + 1) * width // g] = 1
            slices.append(gate_up[e] * torch.cat([keep, keep])[:, None])
            downs.append(down[e] * keep)
    return torch.stack(slices), torch.stack(downs), router.repeat_interleave(g, 0), float(g)


def split_rows_in_turns(gate_up, down, router, g):
    """As if gate and up rows came in turns."""
    return split(torch.cat([gate_up[:, 0::2], gate_up[:, 1::2]], 1), down, router, g)


def split_runs_of_stacked_length(gate_up, down, router, g):
    f = gate_up.shape[1] // g
    gate, up = gate_up.chunk(2, 1)
    parts = [torch.cat([gate[:, s * f : (s + 1) * f], up[:, s * f : (s + 1) * f]], 1) for s in range(g)]
    rows = [part for e in range(len(down)) for part in (p[e] for p in parts)]
    return torch.stack(rows), split(gate_up, down, router, g)[1], router.repeat_interleave(g, 0), g


def costs_total_without_router(d, f, e, k, g):
    return costs(d, f, e, k, g, total=3 * d * f * e)


def costs_share_beside_one_slice(d, f, e, k, g):
    return costs(d, f, e, k, g, share=d * e * g / (d * e * g + 3 * d * f // g))


def costs_wider_slices(d, f, e, k, g):
    router, one = d * e * g, 3 * d * f * g
    active = router + k * g * one
    return costs(d, f, e, k, g, total=router + e * g * one, active=active)


def costs_active_not_cut(d, f, e, k, g):
    return costs(d, f, e, k, g, active=d * e * g + k * g * 3 * d * f)


def costs_old_experts_for_choices(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=math.log2(math.comb(e, k * g)))


def costs_in_or_out(d, f, e, k, g):
    return costs(d, f, e, k, g, choices=e * g)


def costs_rounded(d, f, e, k, g):
    total, active, share, choices = costs(d, f, e, k, g)
    return total, active, round(share, 2), round(choices, 1)


def costs_gained_bits(d, f, e, k, g):
    right = costs(d, f, e, k, g)
    return *right[:3], right[3] - math.log2(math.comb(e, k))


def costs_one_expert_a_token(d, f, e, k, g):
    return costs(d, f, e, k, g, active=d * e * g + 3 * d * f)


def latent_not_turned(x, r, v, gu, dn, u, k):
    return latent(x, r, v, gu, dn, u.T, k)


def latent_router_cut(x, r, v, gu, dn, u, k):
    best, ids = (x @ v.T @ r[:, : len(v)].T).topk(k)
    gate, up = torch.einsum("tl,tkhl->tkh", x @ v.T, gu[ids]).chunk(2, -1)
    answers = torch.einsum("tkf,tklf->tkl", torch.nn.functional.silu(gate) * up, dn[ids])
    return torch.einsum("tk,tkl->tl", best.softmax(-1), answers) @ u.T


def latent_detached(*args):
    return latent(*args, weigh=lambda best: best.detach().softmax(-1))


def _by_experts(x, r, v, gu, dn, u, k, experts, meet=lambda slot, e: e, twice=False):
    best, ids = (x @ r.T).topk(k)
    w, z, total = best.softmax(-1), x @ v.T, torch.zeros(len(x), len(v))
    for e in experts:
        token, slot = torch.where(ids == e)
        for t, s in zip(token.tolist(), slot.tolist(), strict=True):
            own = meet(s, e)
            gate, up = (gu[own] @ (z[t] * (w[t, s] if twice else 1))).chunk(2)
            total[t] = total[t] + w[t, s] * (dn[own] @ (torch.nn.functional.silu(gate) * up))
    return total @ u.T


def latent_slot_for_expert(*args):
    return _by_experts(*args, range(len(args[1])), meet=lambda slot, e: slot)


def latent_token_and_place_swapped(x, r, v, gu, dn, u, k):
    best, ids = (x @ r.T).topk(k)
    w, z, total = best.softmax(-1), x @ v.T, torch.zeros(len(x), len(v))
    for e in range(len(r)):
        place, token = torch.where(ids == e)
        gate, up = (z[token] @ gu[e].T).chunk(2, -1)
        total = total.index_add(
            0, token, w[token, place, None] * ((torch.nn.functional.silu(gate) * up) @ dn[e].T)
        )
    return total @ u.T


def latent_over_e(x, r, *rest):
    return latent(x, r, *rest) / len(r)


def latent_last_expert_forgotten(*args):
    return _by_experts(*args, range(len(args[1]) - 1))


def latent_k_experts_visited(*args):
    return _by_experts(*args, range(args[-1]))


def latent_weighted_twice(*args):
    return _by_experts(*args, range(len(args[1])), twice=True)


def latent_one_more(x, r, v, gu, dn, u, k):
    return latent(x, r, v, gu, dn, u, min(k + 1, len(r)))


FRESH = {
    "11.split_expert": [
        ("slices backwards", split_backwards, {"slices_backwards"}),
        ("up rows of the slice before", split_up_one_further, {"up_of_another_slice"}),
        ("the first columns for all", split_first_columns, {"first_run_for_all"}),
        ("cat everywhere", split_cat_everywhere, {"slice_major"}),
        ("factor squared", split_factor_squared, {"another_factor"}),
        ("masked, not cut", split_masked, {"masked_not_cut"}),
        ("rows taken in turns", split_rows_in_turns, {"rows_in_turns"}),
        ("runs of 2F/G", split_runs_of_stacked_length, set()),
    ],
    "11.cut_costs": [
        ("router not in the total", costs_total_without_router, {"router_not_used"}),
        ("share beside one slice", costs_share_beside_one_slice, {"share_of_one_slice"}),
        ("slices wider", costs_wider_slices, set()),
        ("active ones not cut", costs_active_not_cut, {"experts_not_cut"}),
        ("K G of E", costs_old_experts_for_choices, set()),
        ("each in or out", costs_in_or_out, {"any_number_of_slices"}),
        ("rounded", costs_rounded, {"rounded"}),
        ("bits gained", costs_gained_bits, {"bits_gained"}),
        ("one expert a token", costs_one_expert_a_token, {"one_expert_a_token"}),
    ],
    "11.latent_moe": [
        ("up_DL without .T", latent_not_turned, {"transpose_missing"}),
        ("router's first L columns in the latent", latent_router_cut, {"part_of_the_router"}),
        ("weights detached", latent_detached, {"gradient_lost"}),
        ("slot for expert", latent_slot_for_expert, {"slot_for_expert"}),
        ("token and place exchanged", latent_token_and_place_swapped, {"index_out_of_range"}),
        ("divided by E", latent_over_e, {"size_factor"}),
        ("last expert forgotten", latent_last_expert_forgotten, {"experts_skipped"}),
        ("only K experts visited", latent_k_experts_visited, {"experts_skipped"}),
        ("weighted twice", latent_weighted_twice, {"weighted_twice"}),
        ("one more", latent_one_more, {"another_number_chosen"}),
    ],
}

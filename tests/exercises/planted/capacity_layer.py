"""Answers to 07.dispatch_combine: rows into buffers and back, with drops."""

import torch
import torch.nn.functional as F


def layer_loops(hidden, ids, weights, positions, capacity, experts):
    E, D = experts.shape[0], hidden.shape[1]
    buffers, out = torch.zeros(E, capacity, D), torch.zeros_like(hidden)
    for t in range(len(hidden)):
        for k in range(ids.shape[1]):
            e, p = int(ids[t, k]), int(positions[t, k])
            if p < capacity:
                buffers[e, p] = hidden[t]
                out[t] += weights[t, k] * (hidden[t] @ experts[e])
    return buffers, out


def layer_masks(hidden, ids, weights, positions, capacity, experts):
    """GShard's way: a one-hot dispatch mask [T, E, C], and the same times the weights."""
    places = F.one_hot(positions.clamp(max=capacity), capacity + 1)[..., :capacity].float()
    chosen = F.one_hot(ids, experts.shape[0]).float()
    dispatch = torch.einsum("tke,tkc->tec", chosen, places)
    combine = torch.einsum("tk,tke,tkc->tec", weights, chosen, places)
    buffers = torch.einsum("tec,td->ecd", dispatch, hidden)
    return buffers, torch.einsum("tec,ecd->td", combine, torch.bmm(buffers, experts))


def layer_spare_row(hidden, ids, weights, positions, capacity, experts):
    E, D = experts.shape[0], hidden.shape[1]
    cell = torch.where(positions < capacity, ids * capacity + positions, E * capacity)
    flat = torch.zeros(E * capacity + 1, D)
    flat[cell.flatten()] = hidden.repeat_interleave(ids.shape[1], dim=0)
    buffers = flat[:-1].reshape(E, capacity, D)
    back = torch.cat([(buffers @ experts).reshape(-1, D), torch.zeros(1, D)])
    return buffers, (back[cell] * weights.unsqueeze(-1)).sum(1)


def filled(hidden, ids, positions, capacity, n_experts, kept):
    buffers = torch.zeros(n_experts, capacity, hidden.shape[1])
    for t, k in kept.nonzero().tolist():
        buffers[ids[t, k], positions[t, k]] = hidden[t]
    return buffers


def added(hidden, ids, weights, experts, kept):
    out = torch.zeros_like(hidden)
    for t, k in kept.nonzero().tolist():
        out[t] += weights[t, k] * (hidden[t] @ experts[ids[t, k]])
    return out


def with_kept(rule, extra=0):
    def layer(hidden, ids, weights, positions, capacity, experts):
        kept = rule(positions, capacity)
        buffers = filled(hidden, ids, positions, capacity + extra, len(experts), kept)
        return buffers, added(hidden, ids, weights, experts, kept)

    return layer


def with_output(change):
    """Right buffers, and an output that `change` makes of the layer's."""

    def layer(hidden, ids, weights, positions, capacity, experts):
        kept = positions < capacity
        buffers = filled(hidden, ids, positions, capacity, len(experts), kept)
        return buffers, change(hidden, ids, weights, experts, kept)

    return layer


def layer_clamped(hidden, ids, weights, positions, capacity, experts):
    kept = positions < capacity
    buffers = filled(hidden, ids, positions, capacity, len(experts), kept)
    results = buffers @ experts
    return buffers, (results[ids, positions.clamp(0, capacity - 1)] * weights[..., None]).sum(1)


def doubled(hidden, ids, weights, experts, kept):
    out = added(hidden, ids, weights, experts, kept)
    dropped = ~kept.any(dim=1)
    out[dropped] = hidden[dropped]
    return out


def rescaled(hidden, ids, weights, experts, kept):
    weights = weights * kept
    denominator = torch.clamp(weights.sum(1, keepdim=True), min=torch.finfo(weights.dtype).eps)
    return added(hidden, ids, weights / denominator, experts, kept)


def added_once(hidden, ids, weights, experts, kept):
    """`+=` through an index that holds a token twice adds the last of its rows only."""
    out = torch.zeros_like(hidden)
    t, k = kept.nonzero(as_tuple=True)
    out[t] += weights[t, k, None] * torch.einsum("sd,sdf->sf", hidden[t], experts[ids[t, k]])
    return out


def layer_place_first(hidden, ids, weights, positions, capacity, experts):
    """Fills [C, E, D] and then calls it [E, C, D]."""
    E, D = len(experts), hidden.shape[1]
    by_place, kept = torch.zeros(capacity, E, D), positions < capacity
    t, k = kept.nonzero(as_tuple=True)
    by_place[positions[t, k], ids[t, k]] = hidden[t]
    buffers = by_place.reshape(E, capacity, D)
    results = (buffers @ experts).reshape(capacity, E, D)
    out = torch.zeros_like(hidden)
    out.index_add_(0, t, results[positions[t, k], ids[t, k]] * weights[t, k, None])
    return buffers, out


def layer_weighs_first(hidden, ids, weights, positions, capacity, experts):
    """Llama 4 weighs an expert's input; here it is the result that is weighed."""
    buffers, out = torch.zeros(len(experts), capacity, hidden.shape[1]), torch.zeros_like(hidden)
    t, k = (positions < capacity).nonzero(as_tuple=True)
    buffers[ids[t, k], positions[t, k]] = weights[t, k, None] * hidden[t]
    out.index_add_(0, t, (buffers @ experts)[ids[t, k], positions[t, k]])
    return buffers, out


RIGHT = [layer_loops, layer_masks, layer_spare_row]
WRONG = {
    "one_short": with_kept(lambda positions, capacity: positions < capacity - 1),
    "one_too_many": with_kept(lambda positions, capacity: positions <= capacity, extra=1),
    "clamped_read": layer_clamped,
    "input_instead": with_output(doubled),
    "renormalised": with_output(rescaled),
    "no_weights": with_output(
        lambda x, ids, w, experts, kept: added(x, ids, torch.ones_like(w), experts, kept)
    ),
    "weighted_input": layer_weighs_first,
    "residual_added": with_output(lambda x, ids, w, experts, kept: x + added(x, ids, w, experts, kept)),
    "whole_token": with_output(
        lambda x, ids, w, experts, kept: added(x, ids, w, experts, kept & kept.all(1, keepdim=True))
    ),
    "overwritten": with_output(added_once),
    "transposed": with_output(lambda x, ids, w, experts, kept: added(x, ids, w, experts.mT, kept)),
    "layout_swapped": layer_place_first,
}

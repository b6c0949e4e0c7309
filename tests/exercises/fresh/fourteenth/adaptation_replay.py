"""The fourteenth set, 13.replay: what a class would most likely hand in."""

import torch


# Takes the softmax over all E experts and then picks the recorded ones, without rescaling: the K weights do
# not sum to 1, and a gradient reaches the logits of all experts.
def over_all(logits_TE, replayed_ids_TK, rollout_weights_TK):
    probs_TE = logits_TE.softmax(dim=-1)
    return probs_TE.gather(1, replayed_ids_TK)


# Thinks that the weights are replayed as well: gives the rollout's weights as values, and lets the gradient
# through with a straight-through trick. The values are not the trainer's own.
def old_values(logits_TE, replayed_ids_TK, rollout_weights_TK):
    own_TK = logits_TE.gather(1, replayed_ids_TK).softmax(dim=-1)
    return rollout_weights_TK + own_TK - own_TK.detach()


# Chooses the top K of the trainer's logits anew instead of the recorded experts; the ids are used only for
# K.
def chosen_anew(logits_TE, replayed_ids_TK, rollout_weights_TK):
    K = replayed_ids_TK.shape[1]
    top_TK, _ = logits_TE.topk(K, dim=-1)
    return top_TK.softmax(dim=-1)


# Masks all other experts and takes the top K of what is left: the right experts and weights, but in the
# order of the trainer's logits, not in the recorded order.
def by_weight(logits_TE, replayed_ids_TK, rollout_weights_TK):
    mask_TE = torch.full_like(logits_TE, float("-inf")).scatter(1, replayed_ids_TK, 0.0)
    weights_TE = (logits_TE + mask_TE).softmax(dim=-1)
    return weights_TE.topk(replayed_ids_TK.shape[1], dim=-1).values


# Takes the routing as data that must not learn: computes the weights on detached logits. All values are
# right, but no gradient reaches the router.
def cut_off(logits_TE, replayed_ids_TK, rollout_weights_TK):
    chosen_TK = logits_TE.detach().gather(1, replayed_ids_TK)
    return torch.softmax(chosen_TK, dim=-1)


# Softmax over the wrong axis (dim=0): the weights sum to 1 over the tokens instead of over a token's K
# experts.
def over_tokens(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.gather(1, replayed_ids_TK).softmax(0)


FRESH = {
    "13.replay": [
        ("softmax over all experts", over_all, {"softmax_over_all"}),
        ("recorded values, straight through", old_values, {"straight_through"}),
        ("the trainer's own top K", chosen_anew, {"own_choice"}),
        ("in the order of the logits", by_weight, {"own_choice_in_order"}),
        ("detached logits", cut_off, {"detached"}),
        ("dim=0", over_tokens, {"over_the_tokens"}),
    ],
}

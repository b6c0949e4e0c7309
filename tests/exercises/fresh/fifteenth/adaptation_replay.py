"""The fifteenth set, 13.replay: what a class would most likely hand in."""

import torch


# The learner believes that replaying means to use the recorded weights, too, and returns them: no gradient
# reaches the logits.
def recorded(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return rollout_weights_TK


# The learner takes the softmax over all E experts and then picks the recorded ones: the weights do not sum
# to 1, and a gradient reaches experts that were not recorded.
def over_all(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.softmax(dim=-1).gather(1, replayed_ids_TK)


# The learner lets the trainer choose: a softmax over its own top K logits. The recorded ids are not used,
# except for their number.
def own_best(logits_TE, replayed_ids_TK, rollout_weights_TK):
    n_chosen = replayed_ids_TK.shape[1]
    return logits_TE.topk(n_chosen, dim=-1).values.softmax(dim=-1)


# The learner masks all experts that were not recorded and takes the topk of the softmax: right weights, but
# in the order of the trainer's logits and not in the recorded order of the ids.
def own_order(logits_TE, replayed_ids_TK, rollout_weights_TK):
    recorded_TE = torch.zeros_like(logits_TE, dtype=torch.bool).scatter(1, replayed_ids_TK, True)
    weights_TE = logits_TE.masked_fill(~recorded_TE, float("-inf")).softmax(dim=-1)
    return weights_TE.topk(replayed_ids_TK.shape[1], dim=-1).values


# The learner wants the rollout's values and the trainer's gradient (straight through): the numbers returned
# are the recorded weights, not those of the trainer's own logits.
def old_values(logits_TE, replayed_ids_TK, rollout_weights_TK):
    own_TK = logits_TE.gather(1, replayed_ids_TK).softmax(dim=-1)
    return rollout_weights_TK + own_TK - own_TK.detach()


# The learner takes the softmax over the wrong axis: over the tokens and not over a token's K experts.
def down_tokens(logits_TE, replayed_ids_TK, rollout_weights_TK):
    return logits_TE.gather(1, replayed_ids_TK).softmax(dim=0)


FRESH = {
    "13.replay": [
        ("the recorded weights", recorded, {"rollout_weights"}),
        ("softmax over all experts", over_all, {"softmax_over_all"}),
        ("the trainer's own top K", own_best, {"own_choice"}),
        ("the trainer's order", own_order, {"own_choice_in_order"}),
        ("recorded values, straight through", old_values, {"straight_through"}),
        ("dim=0", down_tokens, {"over_the_tokens"}),
    ],
}

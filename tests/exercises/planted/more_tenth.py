"""More answers to lessons 01 to 10: of two fresh sets, those that had no name when they were written."""

import torch
from fresh.eleventh import capacity as next_capacity
from fresh.eleventh import collapse as next_collapse
from fresh.eleventh import dispatch as next_dispatch
from fresh.eleventh import loss as next_loss
from fresh.eleventh import transformer as next_transformer
from fresh.eleventh import zoo as next_zoo
from fresh.tenth import collapse, dispatch, loss, router, transformer, zoo


def one_softmax_for_all(logits_TE, topk_ids_TK, topk_weights_TK):
    """Softmax where the weights sum to 1, a sigmoid where they do not."""
    return "softmax_topk_renorm" if abs(topk_weights_TK.sum(1) - 1).max() < 1e-3 else "topk_sigmoid"


def shares_in_turn(first, second):
    """Only the shares are compared: the first of each pair of names is said for both."""

    def gate_family(logits_TE, topk_ids_TK, topk_weights_TK):
        name = router.all_compared_as_shares(logits_TE, topk_ids_TK, topk_weights_TK)
        return {"softmax_topk": first, "sigmoid": second}.get(name, name)

    return gate_family


def shares_rounded_down(topk_ids_TK, n_experts, mask_T):
    chosen = topk_ids_TK[mask_T].flatten()
    counts = torch.tensor([float((chosen == e).sum()) for e in range(n_experts)])
    return counts // len(chosen)


def clipped_alone_and_together(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    weight = weight_VD.clone()
    for s in range(len(inputs_SMND)):
        n_real = (targets_SMN[s] != -100).sum()
        total = torch.zeros_like(weight)
        for x, y in zip(inputs_SMND[s], targets_SMN[s], strict=True):
            keep = y != -100
            p = (x[keep] @ weight.T).softmax(dim=-1)
            p[torch.arange(len(p)), y[keep]] -= 1
            part = p.T @ x[keep] / n_real
            total += part * min(1.0, max_norm / (float(part.norm()) + 1e-9))
        total *= min(1.0, max_norm / (float(total.norm()) + 1e-9))
        weight = weight - peak * min(1.0, (s + 1) / warmup_steps) * total
    return weight


WRONG = {
    "01.gate_family": {
        "sums_only:nothing else": router.by_their_sum,
        "sums_only:two names": one_softmax_for_all,
        "ratios_only:softmax_topk, sigmoid": router.all_compared_as_shares,
        "ratios_only:softmax_topk, topk_sigmoid": shares_in_turn("softmax_topk", "topk_sigmoid"),
        "ratios_only:topk_softmax, topk_sigmoid": shares_in_turn("topk_softmax", "topk_sigmoid"),
    },
    "04.load_shares": {
        "whole_division": shares_rounded_down,
        "whole_division:of integers": next_collapse.whole_division,
    },
    "04.effective_experts": {
        "entropy_of_counts": collapse.entropy_of_counts,
        "in_use": next_collapse.used_experts,
        "bits_and_e:2 to the nats": next_collapse.two_to_the_nats,
    },
    "04.imbalance": {"dead_of_all_layers": collapse.dead_in_the_model},
    "04.diagnose": {
        "pieces_of_four": collapse.split_into_fours,
        "whole_oscillates": next_collapse.rows_of_the_whole_run,
    },
    "04.revive": {"donors_momentum_cleared": next_collapse.donors_lose_momentum_too},
    "05.f_and_p": {"log_probabilities": next_loss.p_of_log_softmax},
    "05.balancing_loss": {"logits_overwritten:in P": next_loss.logits_zeroed},
    "05.chebyshev": {
        "outer_product": next_loss.outer_product,
        "excess_means_sorted:rows": next_loss.sum_compared_with_zero,
    },
    "05.counterexample": {"not_with_two": loss.exactly_half},
    "05.z_loss": {
        "squared_logits:summed": loss.squared_logits,
        "over_everything": next_loss.z_over_everything,
    },
    "05.scope": {"first_choice": next_loss.top_1_in_f},
    "06.noisy_topk": {"softplus_plus_a_bit": next_zoo.softplus_and_a_bit},
    "06.expert_choice": {"values_only": next_zoo.values_returned},
    "06.sinkhorn": {"softmax_first": zoo.from_a_softmax, "both_sums_first": next_zoo.both_at_once},
    "06.group_limited": {"strided_groups:the mask not": next_zoo.groups_every_other},
    "07.positions": {"running_counts": next_capacity.running_counts},
    "07.assignment": {"column_modulo": next_capacity.table_repeated_in_turn},
    "08.bytes_moved": {"gate_forgotten:in one stage": next_dispatch.gate_and_up_once},
    "08.permutation_plan": {"experts_for_tokens": dispatch.experts_for_tokens},
    "08.undo_sort": {"sorted_values": dispatch.slots_sorted_by_value},
    "08.grouped_product": {"ends_for_sizes": dispatch.ends_for_sizes},
    "10.expert_information": {"label_entropy": next_transformer.entropy_of_the_labels},
    "10.training_step": {
        "each_clipped": transformer.each_micro_batch_clipped,
        "each_clipped:and their sum": clipped_alone_and_together,
    },
}
"""By exercise; each lesson's module adds what is its own."""


def add_to(wrong):
    """Put these beside a lesson's other planted answers."""
    for exercise in wrong:
        wrong[exercise] = {**wrong[exercise], **WRONG.get(exercise, {})}

"""Wrong answers to lesson 12, by the later misconceptions: most stand in the fourth set of fresh ones."""

from fresh.fifth import information as fifth_information
from fresh.fifth import traces as fifth_traces
from fresh.fourth import information, traces
from planted.learned_pairs import in_floats


def mean_square(*args):
    return traces.local(*args, chance=lambda p, counts: p.square().mean())


def overlap_twice(a, b, E):
    overlap, _ = traces.saturate(a, b, E)
    return overlap, overlap


def first_choice_found(a, b, E):
    found = [row[0] in then for row, then in zip(b.tolist(), a.tolist(), strict=True)]
    return sum(found) / len(found), traces.saturate(a, b, E)[1]


def bar_of_a_half(*args):
    return information.verdict(*args, bar=0.5)


def either_way(*log):
    word, (trained, untrained, t, *_) = information.verdict(*log), log
    apart = abs(information.I(trained, t) - information.I(untrained, t))
    return word if word not in ("token", "untrained") else "token" if apart > 0.2 else "untrained"


WRONG = {
    "12.locality": {
        "expert_0_left_out": traces.locality_nonzero_is_real,
        "loads_of_some": traces.locality_loads_of_later_tokens,
        "windows_left_out": traces.locality_shortest_window,
        "wrong_number_of_pairs": traces.locality_one_window,
        "entropy_for_chance": traces.locality_entropy,
        "spread_for_chance": mean_square,
        "mask_off_by_one": fifth_traces.locality_one_place_less,
        "one_window": fifth_traces.locality_first_window,
        "two_loads": fifth_traces.locality_two_marginals,
        "one_over_used": fifth_traces.locality_one_over_used,
        "mean_over_experts": fifth_traces.locality_mean_over_experts,
    },
    "12.saturation": {
        "loads_compared": traces.saturation_histograms,
        "mean_over_experts": traces.saturation_by_expert,
        "all_with_all": traces.saturation_every_token,
        "itself_for_chance": overlap_twice,
        "one_of_the_first": first_choice_found,
        "minimum_for_product": fifth_traces.saturation_chance_minimum,
        "without_itself": fifth_traces.saturation_others_only,
        "at_least_one": fifth_traces.saturation_at_least_one,
        "in_percent": fifth_traces.saturation_percent,
        "correlation": fifth_traces.saturation_correlation,
    },
    "12.coactivation": {
        "pairs_twice": in_floats(traces.coactivation_twice),
        "made_symmetric": in_floats(traces.coactivation_cosine),
        "rows_sum_to_one": in_floats(traces.coactivation_rows_sum_to_one),
        "diagonal_cleared_too_early": in_floats(traces.coactivation_diagonal_too_early),
        "not_added_up": in_floats(traces.coactivation_not_added),
        "lift_of_counts": in_floats(traces.coactivation_lift_of_counts),
        "not_a_ratio": in_floats(traces.coactivation_logarithm),
        "another_diagonal": in_floats(fifth_traces.coactivation_ones),
        "loads_of_the_first_slot": in_floats(fifth_traces.coactivation_load_of_first_slot),
        "mean_load": in_floats(fifth_traces.coactivation_mean_load),
        "nothing_left": in_floats(fifth_traces.coactivation_whole_division),
        "smoothed": in_floats(fifth_traces.coactivation_smoothed),
        "lift_symmetric": in_floats(fifth_traces.coactivation_lift_symmetric),
    },
    "12.beyond_the_token": {
        "numbers_collide": information.beyond_factor_too_small,
        "one_kind_only": information.beyond_last_kind,
        "zero_times_log_zero": information.beyond_nan,
        "shares_of_all_tokens": information.beyond_shares_of_all,
        "other_sign": information.beyond_negative,
        "chance_of_the_whole": information.beyond_corrected,
        "other_weights": information.beyond_whole_entropy,
        "smoothed": fifth_information.beyond_smoothed,
        "labels_not_together": fifth_information.beyond_flat_unique,
        "over_another_entropy": fifth_information.beyond_over_token_entropy,
        "shares_of_the_whole_text": fifth_information.beyond_global_shares,
        "one_for_each_kind": fifth_information.beyond_one_for_each_kind,
        "rare_kinds_left_out": fifth_information.beyond_rare_left_out,
    },
    "12.what_is_it": {
        "nats": information.verdict_nats,
        "one_router_corrected": information.verdict_before_not_corrected,
        "chance_taken_for_news: a low bar": information.verdict_low_bar,
        "chance_too_small": fifth_information.what_miller_in_nats,
        "thresholds_mixed_up": fifth_information.what_bars_exchanged,
        "any_difference": fifth_information.what_any_more_than_untrained,
        "difference_either_way": either_way,
        "position_first": information.verdict_position_first,
        "position_beyond_the_token": information.verdict_position_beyond_token,
        "domain_less_untrained": information.verdict_domain_since_untrained,
        "domain_by_subtraction": information.verdict_domain_less_token,
        "domain_just_missed": information.verdict_shuffled_everywhere,
        "untrained_for_nothing": information.verdict_untrained_first,
        "threshold_too_high": bar_of_a_half,
        "other_word": information.verdict_other_words,
        "position_not_asked": fifth_information.what_no_position,
        "domain_not_asked": fifth_information.what_no_domain,
        "routers_exchanged": fifth_information.what_routers_exchanged,
        "untrained_by_itself": fifth_information.what_untrained_if_before,
        "shares_of_entropies": fifth_information.what_share_of_entropy,
    },
}

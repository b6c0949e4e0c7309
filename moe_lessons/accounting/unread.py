"""Fields of a config that a reader did not ask for although they look as if they changed the count.

A reader that was written for one model will read the config of its successor without a word, and count what
the successor has no longer. What it did not look at says so: `shared_intermediate_size`, `moe_layer_freq`.
"""

import re
from collections.abc import Iterator, Mapping

from moe_lessons.accounting.fields import Fields

# What sizes, numbers of things and choices between structures are called.
COUNTS = re.compile(
    r"""(^|_)(num|n)_ | (^|_)(size|sizes|dim|dims|rank|width|ratio|ratios|mult|expand|kernel)(_|$)
    | lora | layers? | heads? | experts? | bias$ | sparse | freq | step$ | interval | period | pattern
    | hidden | intermediate | latent | shared | gate$ | gating | groups? | moe_ | _moe | mlp | ngram
    | ^d_ | _d_ | conv | compress | index | per_layer | tie_""",
    re.VERBOSE,
)
# What matches and changes no count: how a model runs, is trained or initialised, and how tokens are chosen.
HARMLESS = re.compile(
    r"""token | position | rope | rotary | theta | dropout | drop$ | initializer | init$ | std$ | loss | coef
    | window | chunk | capacity | jitter | topk_group | topk_method | n_group$ | num_expert_group | scaling
    | multiplier | _act$ | activation | use_cache | cache_dim | quantization | torch | ^num_labels$ | label
    | beams? | return_dict | output_ | pruned | max_len | model_max | logits_to_keep | version | block_size
    | dtype | _eps(_|$) | epsilon | time_step | limit | norm_topk | norm_min | renormalize | layerdrop
    | pretraining_tp | ep_size | _tp_ | mamba_kernels | mambapy | seq_aux | seed | softcap | fp32 | overlap
    | auto_map | architectures | decay | lr_ | mtp | nextn | index_topk | index_(local|block) | router_dtype
    | scoring | selection | combination | policy | batch_prio | query_pre_attn | alpha | beta_ | _factor$
    | clip | floor | post_norm | qk_scale | head_hidden_norm | qk_norm_type | bidirectional | safe_gate
    | sliding_window_pattern | ^is_(decoder|encoder_decoder)$ | layer_norm$ | residual | qk_head_dim
    | number_of_conv_states | use_nope | use_grouped | routing_bias""",
    re.VERBOSE,
)
ABSENT: tuple[object, ...] = (None, False, 0, "", [], {}, ())


def unread(fields: Fields) -> list[str]:
    """Names of such fields, in the config's order; those that are null, false, 0 or empty say nothing.

    Examples
    --------
    >>> fields = Fields({"hidden_size": 4, "shared_intermediate_size": 8, "moe_layer_freq": None})
    >>> fields.integer("hidden_size"), unread(fields)
    (4, ['shared_intermediate_size'])
    """
    return list(_unread(fields))


def _unread(fields: Fields) -> Iterator[str]:
    for name, value in fields.values.items():
        if name in fields.asked or not isinstance(name, str):
            continue
        matters = COUNTS.search(name) or isinstance(value, Mapping)
        if matters and not HARMLESS.search(name) and not any(value is a or value == a for a in ABSENT):
            yield fields.path + name
    for section in fields.sections:
        yield from _unread(section)


def mtp(values: Mapping[str, object]) -> tuple[str, ...]:
    """The fields that announce multi-token prediction layers, whatever a publisher calls them.

    Examples
    --------
    >>> mtp({"num_mtp_modules": 3, "use_mtp": True, "mtp_num_hidden_layers": 0, "mtp_loss_weight": 1})
    ('num_mtp_modules=3',)
    """
    return tuple(
        f"{name}={value}"
        for name, value in values.items()
        if isinstance(name, str)
        and type(value) is int
        and value > 0
        and re.search(r"(^|_)mtp(_|$)|nextn", name)
        and re.search(r"num|_n_|layers|modules|predict", name)
    )

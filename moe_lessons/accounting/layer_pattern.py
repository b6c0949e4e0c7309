"""The order of a model's layers as a string, in the letters that Nemotron's configs use."""

from collections.abc import Mapping
from typing import Any

from moe_lessons.accounting.describing import from_config
from moe_lessons.accounting.fields import ConfigError, Fields, shown
from moe_lessons.accounting.shapes import MoE

STATE, ATTENTION, EXPERTS, DENSE = "M*E-"
READ = ("jamba", "qwen3_next", "qwen3_5_moe_text", "nemotron_h")


def layer_string(config: Mapping[str, Any]) -> str:
    """Write down a hybrid's layers, first to last: M a state, * attention, E experts, - a dense network.

    A layer that mixes positions and then works on each has two letters; Nemotron's layers do one of the
    two and have one. Any kind of state is an M: Mamba, or gated delta attention.

    Parameters
    ----------
    config : mapping
        A config.json with the `model_type` jamba, qwen3_next, qwen3_5_moe_text or nemotron_h. For any other
        whose layers are all alike, each layer is written alike.

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If the order cannot be read from the config.

    Examples
    --------
    >>> from moe_lessons.accounting import published
    >>> layer_string(published()["Nemotron-3-Nano-30B-A3B"].config)[:13]
    'MEMEM*EMEMEM*'
    >>> layer_string(published()["Qwen3-Next-80B-A3B"].config)[:10]  # every fourth layer has attention
    'MEMEME*EME'
    """
    family = config.get("model_type")
    fields = Fields(config)
    if family == "nemotron_h":
        return _listed(fields)
    if family == "jamba":
        period, offset = fields.integer("attn_layer_period", 8), fields.integer("attn_layer_offset", 4, low=0)
        step, first = (
            fields.integer("expert_layer_period", 2),
            fields.integer("expert_layer_offset", 1, low=0),
        )
        return "".join(
            (ATTENTION if i % period == offset else STATE) + (EXPERTS if i % step == first else DENSE)
            for i in range(fields.integer("num_hidden_layers"))
        )
    if family in ("qwen3_next", "qwen3_5_moe_text"):
        every = fields.integer("full_attention_interval", 4)
        layers = range(1, fields.integer("num_hidden_layers") + 1)
        return "".join((STATE if i % every else ATTENTION) + EXPERTS for i in layers)
    model = from_config(config)
    if len(model.layers) > 1:
        raise ConfigError(
            f"config field 'model_type' is {shown(family)}: its layers differ, and their order is read for "
            f"{', '.join(READ)} only"
        )
    ((layer, times),) = model.layers
    mixer = "" if layer.attention is None else STATE if layer.attention.state_elements else ATTENTION
    return (mixer + (EXPERTS if isinstance(layer.ffn, MoE) else DENSE)) * times


def _listed(fields: Fields) -> str:
    names = {"mamba": STATE, "attention": ATTENTION, "moe": EXPERTS, "mlp": DENSE}
    if fields.has("layers_block_type"):
        kinds = [names.get(str(kind), "?") for kind in fields.values["layers_block_type"]]
        text = "".join(kinds)
    else:
        text = str(fields.values.get("hybrid_override_pattern", "?"))
    if not text or set(text) - set(STATE + ATTENTION + EXPERTS + DENSE):
        raise ConfigError(f"config field 'hybrid_override_pattern' is {shown(text)}: use the letters M*E-")
    return text

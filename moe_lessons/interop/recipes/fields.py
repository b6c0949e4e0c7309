"""Reading a model's config: the same thing under its many names, and no guesses."""

from typing import Any

from moe_lessons.experts import ExpertKind, gated, ungated
from moe_lessons.interop.folders import InteropError

MISSING = object()

EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k", "top_k_experts")
WIDTH = ("moe_intermediate_size", "expert_ffn_hidden_size", "ffn_hidden_size", "intermediate_size")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
ACT = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act", "dense_act_fn")

# transformers' names of activations: ours.
ACTS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}

# Where a model of several parts keeps its language model.
INSIDE = ("text_config", "thinker_config")


class Fields:
    """One model's settings: a config object of transformers, or the dictionary of a `config.json`.

    Parameters
    ----------
    config : dict or object with attributes

    Examples
    --------
    >>> fields = Fields({"num_experts": 8, "hidden_act": "silu"})
    >>> fields("n_routed_experts", "num_experts"), fields("mlp_bias", default=False), fields.act()
    (8, False, 'silu')
    >>> fields("hidden_size")
    Traceback (most recent call last):
        ...
    moe_lessons.interop.folders.InteropError: the config does not say hidden_size: a guess could change ...
    """

    def __init__(self, config: Any) -> None:
        for name in INSIDE * 2:  # a thinker has its language model one level further in
            inner = _get(config, name)
            config = config if inner in (MISSING, None) else inner
        self.config = config

    @property
    def model_type(self) -> str:
        """Its family, as the folders of transformers are called."""
        name = str(self("model_type")).replace("-", "_").removesuffix("_text")
        return {"step3p5": "step3p7", "qwen3_omni_moe_talker": "qwen3_omni_moe"}.get(name, name)

    def __call__(self, *names: str, default: Any = MISSING) -> Any:
        """Return the first of these that is set; None counts as not set."""
        for name in names:
            value = _get(self.config, name)
            if value is not MISSING and value is not None:
                return value
        if default is not MISSING:
            return default
        raise InteropError(f"the config does not say {' or '.join(names)}: a guess could change every output")

    def inside(self, name: str) -> "Fields":
        """The settings of a part, DBRX's `ffn_config` for instance."""
        return Fields(self(name))

    def act(self) -> str:
        """The experts' activation, as `moe_lessons.experts.ACTIVATIONS` calls it."""
        name = self(*ACT)
        if name not in ACTS:
            raise InteropError(f"the activation is {name!r}: there are {', '.join(ACTS)}")
        return ACTS[name]

    def sizes(self) -> dict[str, Any]:
        """D, F, E and K."""
        return {
            "d_model": self("hidden_size", "d_model"),
            "d_expert": self(*WIDTH),
            "n_experts": self(*EXPERTS),
            "top_k": self(*TOP_K),
        }

    def shared(self) -> int:
        """Width of the shared experts, where they are counted in experts."""
        return self(*SHARED, default=0) * self(*WIDTH)

    def gated(self, *, bias: bool = False) -> ExpertKind:
        """SwiGLU, or what else `hidden_act` makes of it."""
        return gated(self.act(), bias=bias)

    def ungated(self, *, bias: bool = False) -> ExpertKind:
        """Two matrices with `hidden_act` between them."""
        return ungated(self.act(), bias=bias)


def _get(config: Any, name: str) -> Any:
    if isinstance(config, dict):
        return config.get(name, MISSING)
    return getattr(config, name, MISSING)

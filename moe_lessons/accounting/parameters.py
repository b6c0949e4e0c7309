"""How many parameters, where they sit, and how many of them one token touches."""

from dataclasses import dataclass

from moe_lessons.accounting.shapes import Dense, Layer, Model, MoE, parameters

COMPONENTS = (
    "embedding",
    "head",
    "attention",
    "router",
    "routed_experts",
    "shared_experts",
    "dense_ffn",
    "norms",
)


@dataclass(frozen=True)
class Parameters:
    """Parameters of a model by component, and the totals that people quote.

    Parameters
    ----------
    components : dict of str to int
        Every parameter, once; the keys are `COMPONENTS`, and `other` where a model has what fits none.
    active_components : dict of str to int
        Those that one token touches: K of E routed experts, all else in full.
    tied : bool
        The head is the embedding's matrix, so `head` holds its bias at most.
    """

    components: dict[str, int]
    active_components: dict[str, int]
    tied: bool

    @property
    def total(self) -> int:
        """Every parameter; a tied embedding counts once."""
        return sum(self.components.values())

    @property
    def active(self) -> int:
        """What one token touches, input embedding and head in full."""
        return sum(self.active_components.values())

    @property
    def active_excl_input_embedding(self) -> int:
        """The same without the input embedding, of which a token reads one row; a tied one stays, as head."""
        return self.active - (0 if self.tied else self.components["embedding"])

    @property
    def active_excl_embed_and_head(self) -> int:
        """The same without embedding and head: what the layers do."""
        return self.active - self.components["embedding"] - self.components["head"]

    @property
    def non_embedding(self) -> int:
        """The total without embedding and head."""
        return self.total - self.components["embedding"] - self.components["head"]


def count(model: Model) -> Parameters:
    """Count the parameters of a model.

    total = embedding + head + sum over layers of (attention + norms + feed-forward) + final norm, where a
    layer with experts holds E of them; active = total - L_moe (E - K) (parameters of one expert).

    Parameters
    ----------
    model : Model
        As `describe` returns it.

    Returns
    -------
    Parameters

    References
    ----------
    Jiang et al., "Mixtral of Experts", arXiv:2401.04088, section 2.1, on total and active parameters.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> mixtral = count(describe("Mixtral-8x7B"))
    >>> mixtral.total, mixtral.active
    (46702792704, 12879925248)
    """
    table = model.vocab_size * model.d_model
    everything = dict.fromkeys(COMPONENTS, 0)
    everything["embedding"] = table
    head = 0 if model.tied else model.n_outputs * model.d_model
    everything["head"] = head + model.n_outputs * model.head_bias
    everything["norms"] = model.final_norms
    if model.other or model.other_vectors:
        everything["other"] = parameters(model.other) + model.other_vectors
    active = dict(everything)
    for layer, times in model.layers:
        for name, (held, touched) in layer_parameters(layer).items():
            everything[name] = everything.get(name, 0) + times * held
            active[name] = active.get(name, 0) + times * touched
    return Parameters(everything, active, model.tied)


def layer_parameters(layer: Layer) -> dict[str, tuple[int, int]]:
    """Parameters of one layer by component: all of them, and those that one token touches.

    Examples
    --------
    >>> from moe_lessons.accounting.shapes import Layer, Matrix, MoE, plain
    >>> moe = MoE(n_experts=8, top_k=2, router=Matrix(4, 8), expert=plain(4, 16))
    >>> layer_parameters(Layer(4, None, moe, norms=4))["routed_experts"]  # 8 and 2 times 2 * 4 * 16
    (1024, 256)
    """
    parts = {"norms": (layer.norms, layer.norms)}
    if layer.other or layer.other_vectors:
        parts["other"] = (parameters(layer.other) + layer.other_vectors,) * 2
    if layer.attention is not None:
        parts["attention"] = (layer.attention.parameters,) * 2
    if isinstance(layer.ffn, Dense):
        parts["dense_ffn"] = (parameters(layer.ffn.matrices),) * 2
    if isinstance(layer.ffn, MoE):
        moe = layer.ffn
        parts["router"] = (moe.router_parameters,) * 2
        parts["shared_experts"] = (parameters(moe.shared),) * 2
        parts["routed_experts"] = (
            moe.n_experts * moe.expert_parameters,
            moe.top_k * moe.expert_parameters,
        )
    return parts

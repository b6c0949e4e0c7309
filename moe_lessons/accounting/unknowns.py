"""What follows about a model from two rounded numbers, and what does not follow from its speed.

Total and active parameters are ``rest + E x`` and ``rest + K x``, where x is one expert in all layers and the
rest is everything that every token uses. Two equations, two unknowns; rounding makes intervals of them.
"""

from typing import NamedTuple

from moe_lessons.accounting.describing import from_config
from moe_lessons.accounting.memory import decode_read_bytes
from moe_lessons.accounting.shapes import Model


class TwoNumbers(NamedTuple):
    """What total and active parameters leave possible, in the unit that they were given in.

    Attributes
    ----------
    expert : tuple of float
        Least and most that one expert of every layer can have together.
    rest : tuple of float
        Least and most for everything that each token uses; below 0 nothing is possible.
    possible : bool
        Whether any rest of at least 0 is left.
    """

    expert: tuple[float, float]
    rest: tuple[float, float]
    possible: bool

    def contains(self, expert: float, rest: float) -> bool:
        """Whether a model with these sizes would be described by the two numbers.

        Examples
        --------
        >>> two_numbers(46.7, 12.9, 0.1, n_experts=8, top_k=2).contains(expert=5.64, rest=1.61)
        True
        """
        return self.expert[0] <= expert <= self.expert[1] and self.rest[0] <= rest <= self.rest[1]


def two_numbers(total: float, active: float, unit: float, n_experts: int, top_k: int) -> TwoNumbers:
    """Solve ``total = rest + E x`` and ``active = rest + K x``, both rounded to a multiple of `unit`.

    Parameters
    ----------
    total, active : float
        Both in the same unit, such as billions.
    unit : float
        What they were rounded to: either may be off by half of it. 0 for exact numbers.
    n_experts, top_k : int
        E and K of each layer with experts.

    Returns
    -------
    TwoNumbers

    Raises
    ------
    ValueError
        If a number is not positive, more is active than there is, or K is not below E.

    Examples
    --------
    >>> grok = two_numbers(314, 86, 1, n_experts=8, top_k=2)
    >>> [round(x, 1) for x in (*grok.expert, *grok.rest)], grok.possible
    ([37.8, 38.2, 9.2, 10.8], True)
    >>> two_numbers(1800, 280, 10, n_experts=8, top_k=2).possible  # the rest would be negative
    False
    """
    if not 1 <= top_k < n_experts:
        remedy = "with E = K active is total" if top_k == n_experts else "it must be at least 1 and below E"
        raise ValueError(f"top_k is {top_k} with n_experts={n_experts}: {remedy}")
    if not 0 < active <= total:
        raise ValueError(f"active is {active} of total={total}: choose more than 0 and at most the total")
    if unit < 0:
        raise ValueError(f"unit is {unit}: choose 0 or more")
    half = unit / 2
    corners = [(total + i * half, active + j * half) for i in (-1, 1) for j in (-1, 1)]
    experts = [(t - a) / (n_experts - top_k) for t, a in corners]
    rests = [a - top_k * x for (_, a), x in zip(corners, experts, strict=True)]
    return TwoNumbers((min(experts), max(experts)), (min(rests), max(rests)), max(rests) >= 0)


def same_speed(model: Model, dtype: str = "bf16", batch: int = 1) -> Model:
    """Make up a dense model that reads as many bytes for a step of decoding: as fast, without experts.

    Parameters
    ----------
    model : Model
    dtype : str
        Of all weights of both models.
    batch : int
        Tokens in the step; more of them touch more experts, and make the dense twin larger.

    Returns
    -------
    Model
        Of the Llama family, with 40 layers; it reads the same bytes within 1 %.

    Examples
    --------
    >>> from moe_lessons.accounting import count, describe
    >>> mixtral = describe("Mixtral-8x7B")
    >>> twin = same_speed(mixtral)
    >>> len(twin.moes), f"{count(twin).total / 1e9:.1f} of {count(mixtral).total / 1e9:.1f} billion"
    (0, '12.9 of 46.7 billion')
    """
    bytes_wanted = decode_read_bytes(model, batch, 0, dtype)
    n_layers, vocab_size, step = 40, 32_000, 64

    def dense(d_model: int, width: int) -> Model:
        sizes = {
            "hidden_size": d_model,
            "intermediate_size": width,
            "num_hidden_layers": n_layers,
            "num_attention_heads": d_model // step,
            "num_key_value_heads": d_model // step,
            "vocab_size": vocab_size,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
        }
        return from_config({"model_type": "llama", **sizes}, name=f"dense twin of {model.name}")

    def read(d_model: int, width: int) -> float:
        return decode_read_bytes(dense(d_model, width), batch, 0, dtype)

    # As wide as a model with 12 D^2 parameters a layer would be; then the hidden width meets the bytes.
    per_parameter = (read(step, 2 * step) - read(step, step)) / (n_layers * 3 * step * step)
    d_model = max(step, round((bytes_wanted / per_parameter / n_layers / 12) ** 0.5 / step) * step)
    a_step = read(d_model, 2 * step) - read(d_model, step)
    n_steps = 1 + round((bytes_wanted - read(d_model, step)) / a_step)
    return dense(d_model, step * max(1, n_steps))

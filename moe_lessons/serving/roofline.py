"""How long a step takes, from its bytes and its arithmetic alone: whichever of the two takes longer."""

from dataclasses import dataclass, field

from moe_lessons.accounting import Model, count, decode_read_bytes, describe, kv_cache_bytes

OPERATIONS = 2  # a multiplication and an addition for each weight


@dataclass(frozen=True)
class Server:
    """A model on a number of accelerators, as a roofline sees them.

    Several accelerators count as one with so many times the bandwidth and the arithmetic: no exchange between
    them takes time, which flatters them.

    Parameters
    ----------
    model : Model or str
        A description, or a name that `moe_lessons.accounting.describe` knows.
    gpus : int
    dtype : str
        Of the weights, for `moe_lessons.accounting.decode_read_bytes`.
    flops_s, bytes_s : float
        Of one accelerator, what is reached and not what is promised: by default 800 TFLOP/s and 3 TB/s.
    overhead_s : float
        Of each step, whatever it does.

    References
    ----------
    Williams et al., "Roofline", doi:10.1145/1498765.1498785.

    Examples
    --------
    >>> mixtral = Server("Mixtral-8x7B", gpus=2)
    >>> [round(1e3 * mixtral.step_s(tokens, 0), 1) for tokens in (1, 8, 64)]  # ms
    [4.4, 14.2, 15.7]
    """

    model: Model | str
    gpus: int = 1
    dtype: str = "bf16"
    flops_s: float = 800e12
    bytes_s: float = 3.0e12
    overhead_s: float = 2e-4
    _weights: dict[int, float] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("gpus", "flops_s", "bytes_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: choose more than 0")
        if isinstance(self.model, str):
            object.__setattr__(self, "model", describe(self.model))

    @property
    def described(self) -> Model:
        """The model's description."""
        assert isinstance(self.model, Model)
        return self.model

    def read_bytes(self, tokens: int, cached: float = 0) -> float:
        """Bytes that a step over `tokens` tokens reads, whose sequences keep `cached` tokens in all.

        Experts are counted by the expected coverage of `tokens` tokens that choose at random.
        """
        if tokens < 0 or cached < 0:
            raise ValueError(f"tokens={tokens}, cached={cached}: choose 0 or more of each")
        if tokens not in self._weights:
            self._weights[tokens] = decode_read_bytes(self.described, tokens, 0, self.dtype)
        return self._weights[tokens] + cached * self._cache_bytes

    def flops(self, tokens: int) -> float:
        """Floating-point operations of a step over `tokens` tokens: two for each active parameter.

        The products of attention with the cache are left out.
        """
        return float(OPERATIONS * count(self.described).active * tokens)

    def step_s(self, tokens: int, cached: float = 0) -> float:
        """Seconds that a step over `tokens` tokens takes, whose sequences keep `cached` tokens in all."""
        reading = self.read_bytes(tokens, cached) / (self.gpus * self.bytes_s)
        return max(reading, self.flops(tokens) / (self.gpus * self.flops_s)) + self.overhead_s

    def intensity(self, tokens: int, cached: float = 0) -> float:
        """Floating-point operations for each byte read."""
        return self.flops(tokens) / self.read_bytes(tokens, cached)

    @property
    def ridge(self) -> float:
        """The intensity from which arithmetic takes longer than reading."""
        return self.flops_s / self.bytes_s

    @property
    def _cache_bytes(self) -> int:
        return kv_cache_bytes(self.described, 1)


def tokens_per_check(acceptance: float, gamma: int) -> float:
    """Tokens that come out of one check of a draft of gamma, if each is accepted independently.

    1 + a + a^2 + ... + a^gamma: the first rejected place gets a token all the same.

    References
    ----------
    Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", arXiv:2211.17192, eq. 1.

    Examples
    --------
    >>> tokens_per_check(0.5, 2), tokens_per_check(1.0, 3)
    (1.75, 4.0)
    """
    if not 0 <= acceptance <= 1:
        raise ValueError(f"acceptance={acceptance}: choose 0 to 1")
    if gamma < 0:
        raise ValueError(f"gamma={gamma}: choose 0 or more")
    return float(sum(acceptance**i for i in range(gamma + 1)))


def speculation_speedup(server: Server, batch: int, gamma: int, acceptance: float) -> float:
    """How many times as fast tokens come with drafts of gamma that cost nothing themselves.

    A check runs `gamma + 1` tokens for each of `batch` users, and these tokens bring experts of their own.

    Examples
    --------
    >>> v3 = Server("DeepSeek-V3", overhead_s=0)
    >>> [round(speculation_speedup(v3, batch, 3, 0.7), 2) for batch in (1, 4, 64)]
    [0.99, 0.86, 2.21]
    """
    gain = tokens_per_check(acceptance, gamma)
    return gain * server.step_s(batch) / server.step_s(batch * (gamma + 1))

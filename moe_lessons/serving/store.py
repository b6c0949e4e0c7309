"""Experts in a file, and at most so many bytes of them in memory: what is missing is read when wanted."""

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from moe_lessons.dispatch.plan import combine, gather_slots, permutation_plan
from moe_lessons.experts import SwiGLUExperts, swiglu
from moe_lessons.model import MoETransformer
from moe_lessons.serving.cache import ExpertCache
from moe_lessons.serving.drafts import sharing
from moe_lessons.serving.quantise import AS_IT_IS, GROUP, Bits, Quantised, bits_by_expert, quantise

STORED_BITS = (4, 8)
HALF_BYTE = 16
MATRICES = ("gate_up", "down")

Key = tuple[int, int]  # layer and expert
Stored = dict[str, Tensor]  # an expert as it is in the file


def two_to_a_byte(codes: Tensor) -> Tensor:
    """Put pairs of 4-bit codes, -7 to 7, into bytes.

    Examples
    --------
    >>> one_to_a_byte(two_to_a_byte(torch.tensor([-7, 0, 3, 7], dtype=torch.int8)))
    tensor([-7,  0,  3,  7], dtype=torch.int8)
    """
    first, second = (codes + HALF_BYTE // 2).to(torch.uint8).unflatten(-1, (-1, 2)).unbind(-1)
    return first * HALF_BYTE + second


def one_to_a_byte(packed: Tensor) -> Tensor:
    """Undo `two_to_a_byte`."""
    pairs = torch.stack((packed // HALF_BYTE, packed % HALF_BYTE), dim=-1).flatten(-2)
    return pairs.to(torch.int8) - HALF_BYTE // 2


def as_stored(gate_up: Tensor, down: Tensor, bits: int) -> Stored:
    """Write down one expert: as it is from 16 bits on, else as codes and scales."""
    matrices = dict(zip(MATRICES, (gate_up, down), strict=True))
    if bits >= AS_IT_IS:
        return {name: matrix.detach().clone() for name, matrix in matrices.items()}
    if bits not in STORED_BITS:
        raise ValueError(f"bits={bits}: a store keeps 4, 8, or {AS_IT_IS} and more (as they are)")
    stored: Stored = {}
    for name, matrix in matrices.items():
        packed = quantise(matrix, bits, GROUP)
        stored[f"{name}.codes{bits}"] = packed.codes if bits == 8 else two_to_a_byte(packed.codes)
        stored[f"{name}.scales"] = packed.scales
    return stored


def as_weights(stored: Stored) -> tuple[Tensor, Tensor]:
    """Read one expert's two matrices from what `as_stored` wrote."""
    found = []
    for name in MATRICES:
        if name in stored:
            found.append(stored[name])
            continue
        bits = 8 if f"{name}.codes8" in stored else 4
        codes = stored[f"{name}.codes{bits}"]
        codes = codes if bits == 8 else one_to_a_byte(codes)
        found.append(Quantised(codes, stored[f"{name}.scales"], bits).dequantise())
    return found[0], found[1]


class ExpertStore:
    """All experts of a model in a file, some of them in memory.

    Parameters
    ----------
    model : MoETransformer
        Of SwiGLU experts; it is read once and not kept.
    limit_bytes : int, optional
        Of experts in memory, of all layers together, as they are stored; by default all fit.
    policy : str
        Of `moe_lessons.serving.POLICIES`, all but "belady", which would have to know the future.
    bits : int, or nested list of int of shape (L, E)
        4 or 8 for an expert in codes and scales, 16 or more as it is.
    keep : iterable of (layer, expert)
        What is in memory at the beginning; with "fixed", always.
    file : Path, optional
        Where the experts go; by default a temporary file, which goes with the store.

    Attributes
    ----------
    cache : ExpertCache
        With `hits`, `misses`, and `loaded` in bytes; a batch counts each of its different experts once.
    n_bytes : int
        Of all experts.

    Raises
    ------
    ValueError
        If less than one layer's experts fit: a batch may need them all at once.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=2, d_model=32, n_heads=2, d_expert=32, n_experts=4))
    >>> store = ExpertStore(model, limit_bytes=49152)  # 4 of 8, of 3 * 32 * 32 * 4 bytes
    >>> [store.fetch(layer, [0, 1])[1][1].shape for layer in (0, 1, 0)]
    [torch.Size([32, 32]), torch.Size([32, 32]), torch.Size([32, 32])]
    >>> store.cache.hits, store.cache.misses, store.cache.taken
    (2, 4, 49152)
    """

    def __init__(
        self,
        model: MoETransformer,
        limit_bytes: int | None = None,
        *,
        policy: str = "lru",
        bits: Bits = 32,
        keep: Iterable[Key] = (),
        file: Path | None = None,
    ) -> None:
        if file is None:
            folder = tempfile.mkdtemp(prefix="moe-lessons-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            file = Path(folder) / "experts.safetensors"
        self.file = file
        rows = bits_by_expert(model, bits)
        whole: Stored = {}
        sizes: dict[Key, int] = {}
        self._names: dict[Key, list[str]] = {}
        for layer, moe in enumerate(model.moe_layers):
            if not isinstance(moe.experts, SwiGLUExperts):
                raise ValueError(
                    f"layer {layer} has experts of kind {moe.spec.kind.name!r}: SwiGLU is needed"
                )
            pairs = zip(moe.experts.gate_up_proj, moe.experts.down_proj, strict=True)
            for expert, (gate_up, down) in enumerate(pairs):
                stored = as_stored(gate_up, down, rows[layer][expert])
                self._names[layer, expert] = list(stored)
                sizes[layer, expert] = sum(tensor.nbytes for tensor in stored.values())
                whole |= {f"{layer}.{expert}.{name}": tensor for name, tensor in stored.items()}
        self.n_bytes = sum(sizes.values())
        limit = self.n_bytes if limit_bytes is None else limit_bytes
        most = max(sum(sizes[layer, e] for e in range(len(row))) for layer, row in enumerate(rows))
        if limit < most:
            raise ValueError(
                f"limit_bytes={limit}: one layer's experts take {most} bytes, and a batch may need them all "
                f"at once; give {most} or more"
            )
        kept = list(keep)
        if wrong := [key for key in kept if key not in sizes]:
            raise ValueError(f"keep has {wrong[0]}: give pairs of a layer and one of its experts")
        save_file(whole, self.file)
        self._file = safe_open(self.file, framework="pt")
        self.cache = ExpertCache(limit, policy, contents=kept, size=sizes.__getitem__)  # type: ignore[arg-type]
        self._there: dict[Key, Stored] = {key: self._read(key) for key in kept}

    def fetch(self, layer: int, experts: Iterable[int]) -> list[tuple[Tensor, Tensor]]:
        """Return the weights of experts of a layer that are needed together, in this order.

        Returns
        -------
        list of (Tensor of shape (2F, D), Tensor of shape (D, F))
        """
        keys = [(layer, expert) for expert in experts]
        passing: dict[Key, Stored] = {}

        def load(key: Key) -> None:
            kept = self.cache.policy != "fixed"
            (self._there if kept else passing)[key] = self._read(key)

        self.cache.need(keys, load, self._there.pop)  # type: ignore[arg-type]
        return [as_weights(self._there.get(key) or passing[key]) for key in keys]

    def _read(self, key: Key) -> Stored:
        """Read an expert from the file, into memory of its own."""
        place = f"{key[0]}.{key[1]}."
        return {name: self._file.get_tensor(place + name).clone() for name in self._names[key]}


class StoredPath:
    """A layer's way through experts that are in a store; what `MoELayer` takes as `path`.

    Each expert runs once, on all its rows, whichever are in memory: results do not depend on the limit.
    """

    __name__ = "stored"

    def __init__(self, store: ExpertStore, layer: int) -> None:
        self.store, self.layer = store, layer

    def __deepcopy__(self, memo: dict[int, object]) -> "StoredPath":
        return self  # a copy of the layer, as a draft is one, reads from the same store

    def __call__(
        self, hidden_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor, gate_up: Tensor, down: Tensor
    ) -> Tensor:
        """Return the weighted sum of each token's experts; the layer's own banks are not looked at."""
        if not ids_TK.numel():
            return torch.zeros_like(hidden_TD)
        wanted = list(dict.fromkeys(ids_TK.flatten().tolist()))  # token by token, the best expert first
        weights = dict(zip(wanted, self.store.fetch(self.layer, wanted), strict=True))
        plan = permutation_plan(ids_TK, len(down))
        groups = gather_slots(hidden_TD, plan, ids_TK.shape[1]).split(plan.tokens_per_expert_E.tolist())
        results = [swiglu(rows, *weights[expert]) for expert, rows in enumerate(groups) if len(rows)]
        return combine(torch.cat(results), weights_TK, plan).to(hidden_TD.dtype)


def offloaded(model: MoETransformer, store: ExpertStore) -> MoETransformer:
    """Copy a model without its experts, which come from a store; all other weights are shared.

    Examples
    --------
    >>> from moe_lessons import ModelConfig
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=32, n_heads=2, d_expert=32)).eval()
    >>> light = offloaded(model, ExpertStore(model))
    >>> light.moe_layers[0].experts.down_proj.device.type, light.moe_layers[0].path_for()
    ('meta', 'stored')
    >>> tokens_BL = torch.tensor([[1, 2, 3]])
    >>> bool((light(tokens_BL).logits_BLV - model(tokens_BL).logits_BLV).abs().max() < 1e-5)
    True
    """
    light = sharing(model)
    for number, layer in enumerate(light.moe_layers):
        experts = layer.experts
        assert isinstance(experts, SwiGLUExperts)
        n_experts, d_model, d_expert = experts.down_proj.shape
        with torch.device("meta"):
            layer.experts = SwiGLUExperts(n_experts, d_model, d_expert)
        layer.path = StoredPath(store, number)
    return light.eval()

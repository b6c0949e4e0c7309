"""A dense Llama or Mistral becomes a Mixtral, a tensor at a time."""

from pathlib import Path

import torch
from torch import Tensor

from moe_lessons.adaptation.dense_folders import LAYER, DenseFolder, read_dense
from moe_lessons.adaptation.folders import (
    Made,
    Maker,
    active_of,
    as_folder,
    check_target,
    counted,
    seeded,
    write_folder,
)
from moe_lessons.adaptation.upcycling import ROUTER_STD, check_top_k, check_upcycling, noisy
from moe_lessons.config.gradient import router_without_gradient, warn
from moe_lessons.interop.stored import Spec

NO_GRADIENT = (
    "top_k=1: every weight of Mixtral is 1 then, so the router gets no gradient from the task; take top_k=2"
)
W = {"gate": "w1", "up": "w3", "down": "w2"}  # what Mixtral calls them


def upcycle_folder(
    source: str | Path,
    target: str | Path,
    n_experts: int,
    *,
    top_k: int = 2,
    granularity: int = 1,
    noise: float = 0.0,
    router: str = "random",
    router_std: float = ROUTER_STD,
    seed: int = 0,
) -> Made:
    """Write a dense Llama or Mistral as a Mixtral whose experts are its feed-forward networks.

    Without noise the new model's logits are the dense model's, up to rounding. Mixtral has no factor on its
    weights: with G slices a copy, their last matrices are multiplied by G instead. Weights keep their dtype.

    Parameters
    ----------
    source : path
        A folder of Hugging Face's of type llama or mistral, or a run of ours with ``n_experts=1``.
    target : path
        Must not exist yet, or be empty.
    n_experts, top_k, granularity, noise, router, router_std
        As in `moe_lessons.adaptation.upcycle`.
    seed : int
        Of the router and the noise.

    Returns
    -------
    Made

    Raises
    ------
    InteropError
        If the source is missing or of another family, or the target holds something.
    ValueError
        If the sizes do not fit together.

    Warns
    -----
    UserWarning
        If K = 1: the weight is then always 1, and the task's loss does not train the router.

    References
    ----------
    Komatsuzaki et al., "Sparse Upcycling", arXiv 2212.05055; virtual groups: He et al., arXiv 2410.07524.

    Examples
    --------
    >>> import tempfile
    >>> from moe_lessons.interop.exporting import export_model
    >>> from moe_lessons.model import ModelConfig, MoETransformer
    >>> config = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8, n_experts=1, top_k=1)
    >>> place = Path(tempfile.mkdtemp())
    >>> dense = export_model(MoETransformer(config), place / "dense")
    >>> made = upcycle_folder(dense, place / "sparse", 4)
    >>> made.after - made.before == 3 * (3 * 8 * 8) + 4 * 8  # three more experts, and a router of four rows
    True
    """
    check_upcycling(n_experts, granularity, noise, router)
    check_top_k(top_k, n_experts, granularity)
    if router_without_gradient("topk_softmax", top_k, n_experts):
        warn(NO_GRADIENT)
    target = Path(target)
    check_target(target)
    with as_folder(source) as folder:
        dense = read_dense(folder)
        n_layers, d_ffn = dense.config["num_hidden_layers"], dense.config["intermediate_size"]
        if d_ffn % granularity:
            raise ValueError(f"granularity is {granularity}: choose a divisor of intermediate_size={d_ffn}")
        dtype, (_, width) = dense.specs["model.embed_tokens.weight"]
        specs: dict[str, Spec] = dict(dense.specs)
        makers: dict[str, Maker] = {key: _as_it_is(dense, key) for key in specs}
        shapes = {part: _cut((d_ffn, width), part, granularity) for part in W}
        for layer in range(n_layers):
            moe = LAYER.format(layer) + "block_sparse_moe."
            key = f"{moe}gate.weight"
            specs[key] = Spec(dtype, (n_experts, width))
            makers[key] = _router(specs[key].shape, granularity, router, router_std, seeded(seed, key))
            for part, name in W.items():
                for expert in range(n_experts):
                    key = f"{moe}experts.{expert}.{name}.weight"
                    specs[key] = Spec(dtype, shapes[part])
                    draw = noise, seeded(seed, key)
                    makers[key] = _slice(dense, layer, part, expert % granularity, granularity, *draw)
        config = {
            **dense.config,
            "intermediate_size": d_ffn // granularity,
            "num_local_experts": n_experts,
            "num_experts_per_tok": top_k,
            "dtype": str(dtype).removeprefix("torch."),
            "torch_dtype": str(dtype).removeprefix("torch."),
        }
        write_folder(folder, target, config, specs, makers, _story(folder, n_experts, granularity, noise))
    before = counted(dense.specs) + n_layers * 3 * d_ffn * width
    return Made(target, before, counted(specs), active_of(specs, n_experts, top_k))


def _cut(shape: tuple[int, int], part: str, granularity: int) -> tuple[int, int]:
    inner, width = shape
    return (width, inner // granularity) if part == "down" else (inner // granularity, width)


def _as_it_is(dense: DenseFolder, key: str) -> Maker:
    return lambda: dense.read(key)


def _router(
    shape: tuple[int, ...], granularity: int, router: str, std: float, generator: torch.Generator
) -> Maker:
    n_experts, width = shape
    group = 1 if router == "free" else granularity

    def make() -> Tensor:
        rows_RD = torch.zeros(n_experts // group, width)
        if router != "zero":
            rows_RD.normal_(std=std, generator=generator)
        return rows_RD.repeat_interleave(group, dim=0)

    return make


def _slice(
    dense: DenseFolder,
    layer: int,
    part: str,
    number: int,
    granularity: int,
    noise: float,
    generator: torch.Generator,
) -> Maker:
    def make() -> Tensor:
        one = dense.ffn(layer, part).chunk(granularity, dim=1 if part == "down" else 0)[number]
        if part == "down" and granularity > 1:
            one = one * granularity
        return noisy(one.float(), noise, generator) if noise else one

    return make


def _story(folder: Path, n_experts: int, granularity: int, noise: float) -> str:
    name, copies = folder.resolve().name, n_experts // granularity
    story = f"The experts are {copies} copies of the feed-forward networks of {name}"
    story += f", each cut into {granularity} slices" if granularity > 1 else ""
    return story + (f", with noise of {noise:g} standard deviations" if noise else "")

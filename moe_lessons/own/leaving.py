"""Out of the course: a folder that Hugging Face's transformers loads as Mixtral."""

from pathlib import Path

from safetensors.torch import load_file, save_file

from moe_lessons.interop.exporting import export_model
from moe_lessons.own.card import summary
from moe_lessons.own.model import OwnTransformer

ROUTED = ".block_sparse_moe."  # in the name of every tensor that the exercise names


def export_own(model: OwnTransformer, folder: str | Path) -> Path:
    """Write a model as a Mixtral folder; the Mixture-of-Experts tensors are named by `parts.mixtral_keys`.

    The package names the rest, and writes configuration, tokenizer and model card, to which it adds whose the
    parts are.

    Parameters
    ----------
    model : OwnTransformer
    folder : path
        Must not exist yet, or be empty.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InteropError
        If the folder cannot be written.
    """
    folder = export_model(model.frame, folder)
    file = folder / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(file).items() if ROUTED not in name}
    for layer, moe in enumerate(model.frame.moe_layers):
        banks = moe.router.weight, moe.experts.gate_up_proj, moe.experts.down_proj
        weights |= model.parts.mixtral_keys(*(bank.detach() for bank in banks), layer)
    save_file(weights, file, metadata={"format": "pt"})
    with (folder / "README.md").open("a", encoding="utf-8") as card:
        card.write(f"\n## Its parts\n\n```\n{summary(model.parts)}\n```\n")
    return folder

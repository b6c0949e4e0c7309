"""The options of ``moe-lessons train``: one for each setting, made from the configuration itself."""

import dataclasses
from typing import Any

import click

from moe_lessons.config import (
    BALANCING,
    BALANCING_SCOPES,
    PARALLEL,
    PRECISIONS,
    PRESETS,
    REPEATS,
    SCHEDULES,
    ModelConfig,
    TrainConfig,
)

CHOICES = {
    "schedule": SCHEDULES,
    "repeats": REPEATS,
    "balancing": BALANCING,
    "balancing_scope": BALANCING_SCOPES,
    "precision": PRECISIONS,
    "parallel": PARALLEL,
}
OF_ITS_OWN = ("name", "model", "corpus", "betas", "schedule_start")  # not among the plain options

HELP = {
    "steps": "Optimizer steps.",
    "batch_size": "Windows in a step.",
    "accumulation_steps": "Micro-batches that a step's windows are cut into, to save memory.",
    "seed": "Seed of weights and batches.",
    "learning_rate": "Peak learning rate.",
    "schedule": "How the rate falls after the warm-up.",
    "min_learning_rate_ratio": "Where it ends, as a share of the peak.",
    "warmup_steps": "Steps in which the rate rises to its peak.",
    "schedule_steps": "The step at which the schedule ends; 0: with the run.",
    "weight_decay": "AdamW's, on matrices only.",
    "adam_eps": "AdamW's epsilon.",
    "grad_clip": "Largest norm of the gradient.",
    "balancing": "How experts are kept in use. A bias needs --gate sigmoid.",
    "alpha": "Weight of the load-balancing loss, with aux_loss.",
    "bias_rate": "Step of the expert bias, with bias_sign and the like.",
    "z_loss_weight": "Weight of the router z-loss.",
    "held_out": "A text that is held out, instead of a share of the corpus.",
    "held_out_share": "Share of one text that is held out.",
    "repeats": "Of your own text, paragraphs of 40 characters or more that came before.",
    "tokenizer": "bytes, bpe (byte pairs, learned from the training part) or a tokenizer.json.",
    "vocab_size": "Tokens, the 256 bytes among them; 4096 for bpe unless given.",
    "device": "auto, cpu or cuda.",
    "precision": "Of the products. auto is bf16 on a GPU that has it, else fp32.",
    "compile": "Let torch.compile rewrite the forward pass, on a CPU as one graph. The first step then takes "
    "minutes.",
    "parallel": "Under torchrun. fsdp cuts weights and optimizer into shards, ep shares out the experts, "
    "ep_fsdp does both.",
    "ep_size": "With ep: ranks that share one set of experts; 0 for all.",
    "balancing_scope": "Where aux_loss evens out loads.",
    "n_layers": "Layers.",
    "d_model": "D, width of the model.",
    "n_heads": "Attention heads.",
    "n_kv_heads": "Key-value heads; fewer than heads for grouped-query attention.",
    "d_expert": "F, hidden width of an expert.",
    "n_experts": "E, experts in a layer.",
    "top_k": "K, experts chosen per token.",
    "n_shared_experts": "Experts that every token passes.",
    "gate": "How router logits become weights: topk_softmax, softmax_topk, softmax_topk_renorm, sigmoid, "
    "topk_sigmoid or sqrt_softplus.",
    "routed_scale": "A factor on the experts' weights: G for experts cut into G slices.",
    "expert_bias": "Give the router a bias on the choice; --balancing bias_... does it.",
    "context_length": "Tokens in a window.",
    "rope_theta": "Base of the rotary positions.",
    "norm_eps": "Epsilon of the norms.",
    "tie_embeddings": "One matrix for embedding and head.",
    "n_dense_layers": "So many first layers have no experts.",
    "moe_every": "2: experts in every other layer.",
    "d_dense": "Hidden width of a layer without experts; by default what a token meets in one with.",
    "log_every": "Steps between records.",
    "evaluate_every": "Steps between evaluations.",
    "checkpoint_every": "Steps between checkpoints.",
    "keep": "Checkpoints that stay; the best on held-out text stays beside them.",
}


def setting_options(command: Any) -> Any:
    """Add an option for every setting of a run and of its model, with its choices and its default."""
    base = PRESETS["cpu-tiny"]
    fields = [*dataclasses.fields(TrainConfig), *dataclasses.fields(ModelConfig)]
    defaults = {**base.to_dict()["model"], **base.to_dict()}
    for item in reversed(fields):
        if item.name not in OF_ITS_OWN:
            command = _option(item.name, defaults[item.name])(command)
    command = click.option(
        "--betas",
        nargs=2,
        type=float,
        metavar="B1 B2",
        help=f"AdamW's betas.  [{base.betas[0]} {base.betas[1]}]",
    )(command)
    return click.option(
        "--corpus",
        multiple=True,
        metavar="NAME|PATH",
        help="language-reference, standard-library, one of `data list`, or a text file or a folder of them; "
        f"may be given several times.  [{base.corpus}]",
    )(command)


def _option(name: str, default: Any) -> Any:
    flag, text = f"--{name.replace('_', '-')}", HELP[name]
    if isinstance(default, bool):
        return click.option(
            f"{flag}/--no-{flag[2:]}", name, default=None, help=f"{text}  [{_shown(default)}]"
        )
    kind: Any = int if default is None else type(default)
    if name in CHOICES:
        kind = click.Choice(CHOICES[name])
    return click.option(flag, name, type=kind, help=f"{text}  [{_shown(default)}]")


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default in (None, "") else f"{default}"

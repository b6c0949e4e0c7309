"""Which experts a fine-grained model chooses, token by token: what lesson 14 places on ranks and nodes.

    OMP_NUM_THREADS=1 python benchmarks/expert_traces.py [--seeds 1] [--steps 1700] [--keep FOLDER]

Trains models of 4 layers with 32 experts, 4 a token, on three kinds of text, and routes text that they have
not seen. Writes moe_lessons/results/expert_traces.safetensors (the first model's choices, a byte each) and
moe_lessons/results/expert_traces.json: loads of all models by halves of the text, nodes a token meets, and
bits per byte where a token may go to few nodes. `--keep` saves the models' weights too, and takes them
from there the next time. About five minutes of one core's time for a model.
"""

import json
import platform
import time
from pathlib import Path

import click
import torch
from safetensors.torch import save_file

from moe_lessons.config import preset
from moe_lessons.device import environment
from moe_lessons.inspect.learning import byte_bits, choices, three_kinds, train_and_keep
from moe_lessons.model import MoETransformer, parameter_counts
from moe_lessons.parallel.placement import by_coactivation, nodes_per_token
from moe_lessons.routing import Routing
from moe_lessons.routing import forced as force
from moe_lessons.routing.groups import limit_to_groups
from moe_lessons.training.report import commit

RESULTS = Path(__file__).resolve().parents[1] / "moe_lessons" / "results"
CONTEXT, PROBE, TRAIN = 128, 16_384, 343_616
TRACED = 8_192  # bytes of each kind in the trace: two halves of 4,096
N_NODES = 8
FINE = preset("cpu-tiny").override(
    d_model=128,
    n_layers=4,
    d_expert=64,
    n_experts=32,
    top_k=4,
    steps=1700,
    log_every=10**6,
    evaluate_every=10**6,
    device="cpu",
)
"""Four layers of 32 experts of 64 units, 4 a token: fine-grained, and small enough for one core."""


def model_of(config, corpus, keep):
    """Train, or take what an earlier run has kept; the model, and the CPU seconds of its training."""
    path = None if keep is None else Path(keep) / f"seed{config.seed}.pt"
    if path is not None and path.exists():
        kept = torch.load(path, weights_only=True)
        model = MoETransformer(config.model)
        model.load_state_dict(kept["state"])
        return model.eval(), kept["cpu_s"]
    began = time.process_time()
    (model,) = train_and_keep(config, corpus, (config.steps,)).values()
    cpu_s = time.process_time() - began
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state": model.state_dict(), "cpu_s": cpu_s}, path)
    return model, cpu_s


def capped(limit):
    """Route a token to at most so many nodes: the best by the sum of their K / M best scores."""

    def change(logits_TE, route):
        top_k = route(logits_TE).topk_ids_TK.shape[1]
        best = max(1, top_k // limit)
        kept_TE = limit_to_groups(logits_TE.softmax(-1), top_k, N_NODES, limit, best)
        ids_TK = kept_TE.topk(top_k, dim=-1).indices
        return Routing(logits_TE, ids_TK, logits_TE.gather(1, ids_TK).softmax(dim=-1))

    return change


def by_kind(values_WL, n_kinds):
    return values_WL.mean(dim=1).view(n_kinds, -1).mean(dim=1).tolist()


def load_of(ids_TK, n_experts):
    return torch.bincount(ids_TK.flatten().long(), minlength=n_experts)


def nodes_met(ids_KLTK, n_experts):
    """For each kind: nodes a token of the second half meets, and max/mean load of the nodes, by placement."""
    found = []
    for kind, layers in enumerate(ids_KLTK):
        row = {}
        for name in ("by number", "by co-activation", "by another kind's"):
            nodes, uneven = [], []
            for layer, ids_TK in enumerate(layers):
                first, second = ids_TK.chunk(2)
                if name == "by number":
                    node_E = torch.arange(n_experts) // (n_experts // N_NODES)
                else:
                    other = ids_KLTK[(kind + 1) % 3][layer].chunk(2)[0]
                    node_E = by_coactivation(
                        first if name == "by co-activation" else other, n_experts, N_NODES
                    )
                nodes.append(nodes_per_token(second, node_E))
                load_N = torch.zeros(N_NODES).index_add_(0, node_E, load_of(second, n_experts).float())
                uneven.append(float(load_N.max() / load_N.mean()))
            row[name] = {"nodes": sum(nodes) / len(nodes), "max/mean": sum(uneven) / len(uneven)}
        found.append(row)
    return found


@click.command()
@click.option("--seeds", default=1)
@click.option("--steps", default=FINE.steps)
@click.option("--keep", default=None, help="Folder for the models' weights.")
def main(seeds: int, steps: int, keep: str | None) -> None:
    """Train, route, write."""
    torch.set_num_threads(1)
    probe = three_kinds(TRAIN, PROBE)
    windows_WL = probe.windows_WL.reshape(-1, CONTEXT)
    n_kinds, models, training_s = len(probe.names), [], []
    for seed in range(seeds):
        config = FINE.override(seed=seed, steps=steps)
        model, cpu_s = model_of(config, probe.corpus, keep)
        training_s.append(round(cpu_s, 1))
        ids_KLTK = torch.stack(
            [ids.view(n_kinds, -1, config.model.top_k)[:, :TRACED] for ids in choices(model, windows_WL)],
            dim=1,
        )
        if seed == 0:
            save_file({"ids": ids_KLTK.to(torch.uint8)}, RESULTS / "expert_traces.safetensors")
        plain_WL = byte_bits(model, windows_WL)
        capped_bits = {}
        for limit in (1, 2, 3):
            with force.forced(model.moe_layers, capped(limit)):
                capped_bits[limit] = by_kind(byte_bits(model, windows_WL), n_kinds)
        n_experts = config.model.n_experts
        models.append(
            {
                "seed": seed,
                "bits": by_kind(plain_WL, n_kinds),
                "bits with at most so many nodes": capped_bits,
                "loads": [
                    [[load_of(half, n_experts).tolist() for half in ids.chunk(2)] for ids in layers]
                    for layers in ids_KLTK
                ],
                "nodes": nodes_met(ids_KLTK, n_experts),
            }
        )
        print(f"seed {seed}: {models[-1]['bits']}, trained in {cpu_s:.0f} CPU s", flush=True)
    total, active = parameter_counts(model)
    about = {
        "script": "benchmarks/expert_traces.py",
        "commit": commit(),
        **environment(torch.device("cpu")),
        "python": platform.python_version(),
        "cpu_s_of_training": training_s,
    }
    result = {
        "about": about,
        "config": FINE.override(steps=steps).to_dict(),
        "parameters": {"total": total, "active": active},
        "kinds": list(probe.names),
        "traced bytes of each kind": TRACED,
        "nodes": N_NODES,
        "models": models,
    }
    text = json.dumps(json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 4)))
    (RESULTS / "expert_traces.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

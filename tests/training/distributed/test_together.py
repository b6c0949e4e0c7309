"""Two processes that train together against one that trains alone."""

import json

import pytest
import torch
from safetensors.torch import load_file
from together import HERE, apart, curve, settings, start
from torch import distributed

from moe_lessons.config import preset
from moe_lessons.data import load_corpus
from moe_lessons.model import MoETransformer
from moe_lessons.training import train
from moe_lessons.training.checkpoint import load_model
from moe_lessons.training.objective import router_losses

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)
BOTH = pytest.mark.parametrize("parallel", ["ddp", "fsdp"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    (folder / "text").write_bytes(bytes(load_corpus("language-reference").train_N[:40_000].tolist()))
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    return curve(settings(folder), out=folder / "alone")


@pytest.fixture(scope="module")
def found(folder, alone):
    """What the two ranks found; the second one left when it had written it."""
    ranks = start(2, HERE / "worker.py", folder)
    said = [rank.communicate(timeout=900)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 3], said
    return [torch.load(folder / f"found-{rank}.pt") for rank in range(2)]


def test_two_processes_make_the_steps_of_one(folder, found):
    ours, theirs = curve(settings(folder, steps=50)), found[0]["curve", "global_batch"]
    assert apart(ours, theirs) < 1e-5
    assert max(abs(a[1] - b[1]) for a, b in zip(ours, theirs, strict=True)) < 1e-5
    assert found[1]["curve", "global_batch"] == []  # only the first rank is told
    # A load that each rank counts for itself makes another loss.
    assert apart(ours, found[0]["curve", "micro_batch"]) > 1e-3


@BOTH
def test_gradients_are_those_of_all_tokens(found, parallel):
    model = MoETransformer(preset("smoke").model, generator=torch.Generator().manual_seed(0)).double()
    tokens_BL = torch.arange(128).reshape(4, 32) % 7
    output = model(tokens_BL, tokens_BL)
    router = router_losses(output.routings)
    (output.loss + router.load_balancing + 0.1 * router.z).backward()
    for rank in found:
        for name, parameter in model.named_parameters():
            ours = rank["gradients", parallel, "global_batch"][name]
            torch.testing.assert_close(ours, parameter.grad, rtol=1e-10, atol=1e-12, msg=name)
    name = "blocks.0.moe.router.weight"
    another = found[0]["gradients", parallel, "micro_batch"][name]
    expected = model.get_parameter(name).grad
    assert (another - expected).norm() > 1e-3 * expected.norm()


def test_parts_of_a_step_count_and_steer_as_in_one_process(folder, found):
    config = settings(folder, steps=6, accumulation_steps=2, gate="sigmoid", balancing="bias_sign")
    assert apart(curve(config, out=folder / "parts-alone"), found[0]["curve", "parts"]) < 1e-5
    ours, theirs = (
        json.loads((folder / run / "log.jsonl").read_text().splitlines()[-1])
        for run in ("parts-alone", "parts")
    )
    for name in ("expert_bias_by_layer", "load_shares_by_layer", "tokens", "dead_experts_by_layer"):
        assert theirs[name] == ours[name], name
    for name in ("router_entropy_nats_by_layer", "batch_max_violation_by_layer"):
        assert theirs[name] == pytest.approx(ours[name], rel=1e-5), name


@BOTH
def test_a_checkpoint_of_two_is_that_of_one(folder, alone, found, parallel):
    assert apart(alone, found[0]["curve", parallel]) < 1e-5
    ours, theirs = folder / "alone" / "step-000020", folder / parallel / "step-000020"
    for name in ("model.safetensors", "optimizer.safetensors"):
        expected, stored = load_file(ours / name), load_file(theirs / name)
        assert stored.keys() == expected.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(stored[key], tensor, rtol=1e-3, atol=1e-4, msg=f"{name} {key}")
    tokens_BL = torch.arange(32)[None]
    logits = [load_model(path)[0](tokens_BL).logits_BLV for path in (ours, theirs)]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-4)


@BOTH
def test_two_go_on_where_one_stopped_and_the_reverse(folder, alone, found, parallel):
    assert apart(found[0]["resumed", parallel], alone[10:]) < 1e-5
    (warning,) = found[0]["warnings", parallel]
    assert "not bit for bit" in warning
    assert "ranks: 1 -> 2" in warning
    assert found[1]["warnings", parallel] == []
    with pytest.warns(UserWarning, match="ranks: 2 -> 1"):
        resumed = curve(
            settings(folder), resume=folder / parallel / "step-000010", out=folder / f"alone-after-{parallel}"
        )
    assert apart(resumed, alone[10:]) < 1e-5


def test_a_rank_that_is_left_alone_says_so_within_seconds(folder, found):
    message, seconds = torch.load(folder / "lost-0.pt")
    assert message.startswith("rank 0 of 2 stopped: it lost another process of this run")
    assert "\n" not in message
    assert seconds < 10
    assert not (folder / "lost-1.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4}, "^batch_size=4 on 3 processes: choose a multiple of 3, such as 6$"),
        (
            {"batch_size": 6, "accumulation_steps": 3},
            "^batch_size=6 on 3 processes with accumulation_steps=3: choose a multiple of 9",
        ),
        (
            {"batch_size": 6, "gate": "sigmoid", "balancing": "bias_quantile"},
            "^balancing is 'bias_quantile' on 3 processes: .*; choose bias_sign$",
        ),
        ({"batch_size": 6, "device": "cuda:0"}, "cuda"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_ranks_meet(monkeypatch, changes, message):
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        train(preset("smoke").override(**changes))

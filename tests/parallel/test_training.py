"""Two processes that share the experts, against one that trains alone; and what happens when one is lost."""

from pathlib import Path

import pytest
import torch
from rank_trains import LAYOUTS, fresh
from safetensors.torch import load_file
from together import apart, curve, settings, start
from torch import distributed

from moe_lessons.config import preset
from moe_lessons.data import load_corpus
from moe_lessons.training import train
from moe_lessons.training.checkpoint import read_state
from moe_lessons.training.objective import router_losses
from moe_lessons.training.rundir import latest_checkpoint

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)
HERE = Path(__file__).parent
EACH = pytest.mark.parametrize(("parallel", "ep_size"), LAYOUTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    (folder / "text").write_bytes(bytes(load_corpus("language-reference").train_N[:40_000].tolist()))
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    return curve(settings(folder), out=folder / "alone")


@pytest.fixture(scope="module")
def found(folder, alone):
    ranks = start(2, HERE / "rank_trains.py", folder)
    said = [rank.communicate(timeout=900)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    return [torch.load(folder / f"found-{rank}.pt") for rank in range(2)]


@EACH
def test_gradients_and_their_norm_are_those_of_one_process(found, parallel, ep_size):
    model, tokens_BL = fresh(), torch.arange(128).reshape(4, 32) % 7
    output = model(tokens_BL, tokens_BL)
    router = router_losses(output.routings)
    (output.loss + router.load_balancing + 0.1 * router.z).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    for rank in found:
        theirs = rank["gradients", parallel, ep_size]
        torch.testing.assert_close(theirs["norm"], norm, rtol=1e-12, atol=0)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(theirs[name], parameter.grad, rtol=1e-10, atol=1e-12, msg=name)


def test_two_processes_make_the_steps_of_one(folder, alone, found):
    assert apart(curve(settings(folder, steps=50)), found[0]["curve", "ep"]) < 1e-5
    assert apart(alone, found[0]["curve", "ep_fsdp"]) < 1e-5
    bf16 = curve(settings(folder, steps=3, precision="bf16"))
    assert apart(bf16, found[0]["curve", "bf16"]) < 1e-2  # rounded elsewhere: half as many rows in a product
    parts = {"accumulation_steps": 2, "gate": "sigmoid", "balancing": "bias_sign", "n_shared_experts": 1}
    assert apart(curve(settings(folder, steps=6, **parts)), found[0]["curve", "parts"]) < 1e-5


@pytest.mark.slow
def test_four_processes_make_the_steps_of_one_in_every_layout(folder, alone):
    ranks = start(4, HERE / "rank_trains.py", folder, "four")
    said = [rank.communicate(timeout=1800)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * 4, said
    for layout in ("ep-0", "ep-2", "ep_fsdp-0", "ep_fsdp-2"):
        assert apart(alone, torch.load(folder / f"four-{layout}-0.pt")) < 1e-5, layout
    ours, theirs = (
        load_file(folder / run / "step-000020" / "model.safetensors") for run in ("alone", "four")
    )
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


@EACH
def test_a_checkpoint_moves_to_another_layout_bit_for_bit(folder, found, parallel, ep_size):
    ours, theirs = folder / "alone" / "step-000010", folder / f"copy-{parallel}-{ep_size}" / "step-000010"
    for name in ("model.safetensors", "optimizer.safetensors"):
        expected, stored = load_file(ours / name), load_file(theirs / name)
        assert stored.keys() == expected.keys()
        for key, tensor in expected.items():
            assert key == "rng.cpu" or torch.equal(stored[key], tensor), f"{name} {key}"


def test_two_go_on_where_one_stopped_and_the_reverse(folder, alone, found):
    assert apart(found[0]["resumed"], alone[10:]) < 1e-5
    whole = curve(settings(folder, steps=50))
    with pytest.warns(UserWarning, match="ranks: 2 -> 1"):
        on = curve(settings(folder, steps=50), resume=folder / "ep" / "step-000040", out=folder / "back")
    assert apart(on, whole[40:]) < 1e-5


def test_ranks_keep_experts_of_their_own(found):
    whole = fresh().blocks[0].moe.experts.down_proj.detach()
    for rank, mine in zip(found, whole.chunk(2), strict=True):
        assert torch.equal(rank["own"], mine)
    # The trap that `wrap` avoids: DDP gives every rank the first one's.
    assert not torch.equal(found[0]["own"], found[1]["own"])
    assert torch.equal(found[1]["trap"], found[0]["own"])


def test_ranks_with_other_settings_are_refused_on_all_of_them(found):
    for rank in found:
        assert rank["other"] == (
            "rank 1 of 2 differs from rank 0; there -> here: model.n_experts: 8 -> 4; "
            "start all ranks with the same command"
        )


def test_a_rank_that_stays_away_from_an_exchange_is_given_up(folder, found):
    message, seconds = torch.load(folder / "waited-0.pt")
    assert message.startswith(
        "rank 0 of 2 stopped: another process of this run did not come to a meeting within"
    )
    assert "skipped one" in message
    assert "\n" not in message
    assert 4 < seconds < 60


def test_a_rank_that_ends_ends_the_run_and_leaves_a_whole_checkpoint(folder):
    ranks = start(2, HERE / "rank_trains.py", folder, "leave")
    said = [rank.communicate(timeout=900)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 3], said
    message, _ = torch.load(folder / "lost.pt")
    assert message.startswith("rank 0 of 2 stopped: it lost another process of this run")
    assert "\n" not in message
    assert read_state(latest_checkpoint(folder / "left"))["step"] == 10  # checks every file's sum


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"batch_size": 6, "n_experts": 8},
            "^n_experts=8 on 3 ranks: choose 1, 2, 4 or 8 ranks, or n_experts=9$",
        ),
        ({"batch_size": 6, "ep_size": 2}, "^ep_size=2 on 3 processes: choose 1 or 3$"),
        (
            {"batch_size": 6, "n_experts": 6, "top_k": 2, "compile": True},
            "^compile.* leave it out with parallel",
        ),
    ],
)
@pytest.mark.parametrize("parallel", ["ep", "ep_fsdp"])
def test_what_cannot_be_shared_is_refused_before_ranks_meet(monkeypatch, parallel, changes, message):
    meeting = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in meeting.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        train(preset("smoke").override(parallel=parallel, **changes))


def test_alone_the_setting_changes_nothing(folder, alone):
    assert curve(settings(folder, parallel="ep"), out=folder / "alone-ep") == alone

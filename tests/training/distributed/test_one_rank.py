"""What a process decides before it meets the others."""

import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from moe_lessons.commands import cli
from moe_lessons.training import distributed
from moe_lessons.training.distributed import Ranks, launched_size, own_device
from moe_lessons.training.interrupt import deferred_interrupt
from moe_lessons.training.wrapping import choose_parallel


@pytest.fixture
def four_gpus(monkeypatch):
    chosen = []
    monkeypatch.setattr(distributed, "pick_device", lambda name: torch.device(name))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


def test_a_rank_takes_the_gpu_of_its_number(four_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == torch.device("cuda", 3)
    assert four_gpus == [3]
    assert own_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("device", "rank"), [("cuda", "4"), ("cuda:0", "1")])
def test_more_ranks_than_gpus(four_gpus, monkeypatch, device, rank):
    monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(ValueError, match=f"device='{device}': process {rank} .* GPU {rank} of 4; .*node 4$"):
        own_device(device)


@pytest.mark.parametrize(("gigabytes", "expected"), [(1, "ddp"), (0.0001, "fsdp")])
def test_auto_cuts_what_would_fill_half_a_gpu(monkeypatch, gigabytes, expected):
    properties = SimpleNamespace(total_memory=gigabytes * 1e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    model = nn.Linear(100, 100)  # 10,100 parameters of 16 bytes: 0.16 MB
    assert choose_parallel("auto", model, torch.device("cuda")) == expected
    assert choose_parallel("ddp", model, torch.device("cuda")) == "ddp"


def test_shares_make_up_the_batch_and_every_part_of_it():
    batch = torch.arange(24)
    for n_parts in (1, 2, 4):
        shares = [Ranks(rank, 3).rows(batch, n_parts) for rank in range(3)]
        for part in range(n_parts):
            together = torch.cat([share.chunk(n_parts)[part] for share in shares])
            assert together.tolist() == batch.chunk(n_parts)[part].tolist()


def test_a_process_started_alone_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched_size() == 1
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some schedulers leave it, without a place to meet
    assert launched_size() == 1


def test_only_the_first_rank_speaks_at_once(monkeypatch, capsys):
    waited = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    cli._fail("what is wrong")
    assert waited == []
    monkeypatch.setenv("RANK", "1")
    cli._fail("stopped", cli.INTERRUPTED)
    assert capsys.readouterr().err == "error: what is wrong\n"
    assert cli._fail("its own mishap") == cli.USER_ERROR
    assert waited == [cli.SECONDS_TO_BE_FIRST]
    assert capsys.readouterr().err == "error: its own mishap\n"


def test_sigterm_waits_for_the_end_of_the_step():
    before = signal.getsignal(signal.SIGTERM)
    with deferred_interrupt() as interrupt:
        for _ in range(2):  # launchers repeat it
            signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested
    assert signal.getsignal(signal.SIGTERM) is before

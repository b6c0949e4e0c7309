"""log.csv holds the numbers of log.jsonl; TensorBoard, where there is one, gets them too."""

import csv
import dataclasses
import io
import json
import sys
import types
from pathlib import Path

import pytest

from moe_lessons.commands.progress import Progress
from moe_lessons.config import preset
from moe_lessons.training import train
from moe_lessons.training.loggers import TensorBoard
from moe_lessons.training.runlog import RunLog, StepRecord, flat, read_log

SMOKE = preset("smoke").override(log_every=5, checkpoint_every=10)


def table(folder):
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_numbers(folder):
    records, rows = read_log(folder / "log.jsonl"), table(folder)
    assert len(rows) == len(records) > 0
    for record, row in zip(records, rows, strict=True):
        expected = {name: "" if number is None else str(number) for name, number in flat(record).items()}
        assert {name: value for name, value in row.items() if name in expected} == expected
        assert not [value for name, value in row.items() if name not in expected and value]


@pytest.fixture(scope="module")
def logged(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("logged")
    return train(SMOKE, corpus=corpus, out=out), out


@pytest.fixture(scope="module")
def corpus():
    from moe_lessons.data import Corpus, as_tokens

    text = as_tokens(b"the quick brown fox jumps over the lazy dog; " * 200)
    return Corpus("fox", text, text[:200], "")


def test_every_number_has_a_column(logged):
    _, out = logged
    assert_same_numbers(out)
    row = table(out)[-1]
    assert [row["step"], row["tokens"]] == ["20", "2560"]
    shares = [float(row[f"load_shares_by_layer.1.{expert}"]) for expert in range(8)]
    assert sum(shares) == pytest.approx(1)
    for name in ("drop_rate_by_layer.0", "router_entropy_nats_by_layer.1", "z_loss", "tokens_per_second"):
        assert float(row[name]) >= 0
    assert row["model_flops_utilisation"] == row["loss_scale"] == ""


def test_a_resumed_run_goes_on_with_the_table(logged, corpus, tmp_path):
    class Stop(Exception):
        pass

    def stop(record):
        if record.step == 15:
            raise Stop

    with pytest.raises(Stop):
        train(SMOKE, corpus=corpus, out=tmp_path, on_step=stop)
    assert [row["step"] for row in table(tmp_path)] == ["5", "10", "15"]
    train(SMOKE, corpus=corpus, resume=tmp_path)
    assert [row["step"] for row in table(tmp_path)] == ["5", "10", "15", "20"]
    assert_same_numbers(tmp_path)
    ours, theirs = table(tmp_path), table(logged[1])
    assert [row["train_bits_per_byte"] for row in ours] == [row["train_bits_per_byte"] for row in theirs]


def test_records_of_an_earlier_version_have_fewer_columns(corpus, tmp_path):
    train(SMOKE.override(steps=10, warmup_steps=2), corpus=corpus, out=tmp_path)
    log = tmp_path / "log.jsonl"
    young = ("drop_rate_by_layer", "skipped_steps", "loss_scale", "dead_experts_by_layer")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps({k: v for k, v in x.items() if k not in young}) + "\n" for x in lines))
    (tmp_path / "log.csv").unlink()
    state = tmp_path / "step-000010" / "state.json"
    state.write_text(state.read_text().replace('"steps": 10', '"steps": 20'))
    train(SMOKE.override(warmup_steps=2), corpus=corpus, resume=tmp_path)
    rows = table(tmp_path)
    assert [row["step"] for row in rows] == ["5", "10", "15", "20"]
    assert [row["drop_rate_by_layer.0"] for row in rows] == ["", "", "0.0", "0.0"]
    assert_same_numbers(tmp_path)


def test_a_run_killed_while_it_opens_its_log_keeps_it(logged, tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    before = (logged[1] / "log.jsonl").read_bytes()
    log.write_bytes(before)

    def half(path, text, **options):
        path.write_bytes(text.encode()[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        RunLog(tmp_path, keep_until_step=20)
    monkeypatch.undo()
    assert log.read_bytes() == before
    assert len(RunLog(tmp_path, keep_until_step=20).records) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "log.jsonl"]


class FakeWriter:
    def __init__(self, folder):
        self.folder, self.written, self.closed = folder, [], False

    def add_scalar(self, name, number, step):
        self.written.append((name, number, step))

    def close(self):
        self.closed = True


def test_tensorboard_gets_each_number(logged, monkeypatch, tmp_path):
    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    record = logged[0].history[-1]
    with TensorBoard(tmp_path) as write:
        write(record)
    assert write.writer.closed
    assert write.writer.folder == str(tmp_path / "tensorboard")
    assert ("load_shares_by_layer/1.7", record.load_shares_by_layer[1][7], 20) in write.writer.written
    assert ("z_loss", record.z_loss, 20) in write.writer.written
    assert not [name for name, number, _ in write.writer.written if number is None or name == "step"]


def test_without_tensorboard_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"^tensorboard is not installed: pip install tensorboard, or leave"):
        TensorBoard(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_terminal_shows_the_share_of_the_peak_and_skipped_steps(logged):
    shown = io.StringIO()
    record = dataclasses.replace(logged[0].history[-1], model_flops_utilisation=0.31, skipped_steps=2)
    with Progress(SMOKE, shown) as progress:
        progress(record)
        progress(dataclasses.replace(record, model_flops_utilisation=None, skipped_steps=0))
    first, second = shown.getvalue().splitlines()
    assert "tokens/s (31% of the peak)  fullest expert" in first
    assert first.endswith("skipped 2 for overflow")
    assert "peak" not in second
    assert "skipped" not in second


def test_flat_names_are_paths():
    record = StepRecord(1, 2, 0.1, 8.0, None, 1.0, 1.0, 1.0, [[0.5, 0.5]], [2.0], [0.7], 9.0, 1.0)
    names = flat(record)
    assert names["load_shares_by_layer.0.1"] == 0.5
    assert names["validation_bits_per_byte"] is None
    assert "max_violation_by_layer" not in names

"""`moe-lessons inspect` from end to end, and every way in which it can be asked for what is not there."""

import json
import stat
from html.parser import HTMLParser

import pytest
import tiny_models
import torch
from click.testing import CliRunner
from tiny_models import CONFIGS, build

from moe_lessons.commands.cli import main
from moe_lessons.inspect import load_trace


def run(*arguments):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def inspected(model, texts, out, *more):
    done = run(model, "--text", *texts, "--out", out, "--dtype", "fp32", *more)
    assert done.exit_code == 0, done.output
    return done, json.loads((out / "findings.json").read_text())


@pytest.mark.parametrize("family", [family for family in CONFIGS if family != "llama"])
def test_a_family_from_folder_to_page(models, texts, tmp_path, family):
    done, found = inspected(models(family), texts, tmp_path)
    trace = load_trace(tmp_path)
    assert "needs about" in done.stderr
    assert done.stderr.index("needs about") < done.stderr.index("routing")
    assert found["tokens"] == trace.n_tokens == sum(domain["tokens"] for domain in found["domains"])
    assert "".join(trace.tokens) == "".join(path.read_text() for path in texts)
    expected = {"mixtral": "softmax", "deepseek_v3": "sigmoid", "llama4_text": "sigmoid"}.get(
        family, "softmax"
    )
    for layer, kept in zip(found["layers"], trace.layers, strict=True):
        assert sum(layer["load"]) == trace.n_tokens * layer["top_k"]
        assert layer["score_function"] == expected
        assert 0 < layer["kept"] < 1
        assert (
            set(layer["information"])
            == {"token", "previous", "position", "domain"}
            == set(layer["untrained"]["information"])
        )
        assert kept.logits_TE.shape == (trace.n_tokens, layer["n_experts"])
    page = (tmp_path / "report.html").read_text()
    for text in ("Routing of", "Effective experts", "What the choice depends on", "&lt;<small>", "untrained"):
        assert text in page


def test_the_page_is_one_file_and_what_the_text_holds_stays_text(models, texts, tmp_path):
    inspected(models("mixtral"), texts, tmp_path)

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.links = [], []

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)
            self.links += [value for name, value in attributes if name in ("src", "href", "action")]

    reader = Reader()
    reader.feed((tmp_path / "report.html").read_text())
    assert reader.links == []
    assert reader.tags.count("script") == 1  # the text's own </script> has not ended it, nor begun another
    assert "b" not in reader.tags


def test_a_run_of_this_package(texts, tmp_path):
    from moe_lessons.config import PRESETS
    from moe_lessons.model import MoETransformer

    config = PRESETS["smoke"].model
    run_dir = tmp_path / "smoke"
    train = CliRunner().invoke(main, ["train", "--preset", "smoke", "--steps", "2", "--out", str(run_dir)])
    assert train.exit_code == 0, train.output
    _, found = inspected(run_dir, texts, tmp_path / "out")
    assert len(found["layers"]) == len(
        [1 for block in MoETransformer(config).blocks if hasattr(block, "moe")]
    )
    assert found["family"] == "moe-lessons"
    assert found["layers"][0]["top_k"] == config.top_k


def test_one_text_has_no_domain_and_a_copy_can_be_left_out(models, texts, tmp_path):
    _, found = inspected(
        models("olmoe"), texts[:1], tmp_path, "--no-untrained", "--no-logits", "--tokens", 50
    )
    assert found["tokens"] == 50
    assert all(set(layer["information"]) == {"token", "previous", "position"} for layer in found["layers"])
    assert all("untrained" not in layer and layer["kept"] is None for layer in found["layers"])
    assert "No untrained copy" in (tmp_path / "report.html").read_text()


def test_the_same_seed_gives_the_same_files(models, texts, tmp_path):
    for name in ("a", "b"):
        inspected(models("qwen3_moe"), texts, tmp_path / name)
    for file in ("findings.json", "trace.json", "trace.safetensors", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).stat().st_mode & stat.S_IRGRP


def refused(*arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
    return done.stderr


def test_a_model_without_experts(models, texts):
    assert "has no experts (llama)" in refused(models("llama"), "--text", texts[0])


def test_an_empty_text_a_missing_one_and_none(models, texts, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    assert "is empty" in refused(models("mixtral"), "--text", texts[0], empty)
    assert "cannot be read" in refused(models("mixtral"), "--text", tmp_path / "none.txt")
    assert "is a folder" in refused(models("mixtral"), "--text", tmp_path)
    assert "no text" in refused(models("mixtral"))


def test_a_missing_tokenizer(texts, tmp_path):
    folder = build("mixtral", tmp_path / "bare", tokenizer=False)
    assert "has no tokenizer" in refused(folder, "--text", texts[0])


def test_a_name_that_is_not_here(texts, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "--download fetches it" in refused("nobody/nothing-moe", "--text", texts[0])


def test_a_hub_without_network(texts, monkeypatch):
    import transformers

    def unreachable(*args, **options):
        assert options["local_files_only"] is False
        raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unreachable)
    message = refused("nobody/nothing-moe", "--text", texts[0], "--download")
    assert "cannot be fetched from the hub" in message
    assert "more lines" not in message


def test_folders_that_are_no_model(texts, tmp_path):
    assert "neither config.json" in refused(tmp_path, "--text", texts[0])
    assert "there is no folder" in refused(tmp_path / "gone", "--text", texts[0])
    assert "is a file" in refused(texts[0], "--text", texts[0])


def test_a_damaged_model(texts, models, tmp_path):
    folder = build("mixtral", tmp_path / "torn")
    (folder / "model.safetensors").write_bytes(b"nothing")
    assert "cannot be loaded" in refused(folder, "--text", texts[0])


def test_a_tokenizer_of_another_model(texts, tmp_path, monkeypatch):
    monkeypatch.setitem(
        tiny_models.CONFIGS, "mixtral", ("MixtralConfig", {"vocab_size": 20, "num_local_experts": 4})
    )
    assert "do not belong together" in refused(build("mixtral", tmp_path / "odd"), "--text", texts[0])


def test_a_model_too_large_for_this_machine(texts, models, monkeypatch):
    from moe_lessons.inspect import running

    monkeypatch.setattr(running, "available_bytes", lambda: 1000)
    loaded = []
    monkeypatch.setattr(running, "record", lambda *a, **b: loaded.append(1))
    assert "are free: choose a smaller model" in refused(
        models("mixtral"), "--text", texts[0], "--device", "cpu"
    )
    assert not loaded


def test_devices(texts, models):
    if not torch.cuda.is_available():
        assert "is not on this machine" in refused(models("mixtral"), "--text", texts[0], "--device", "cuda")
    assert "is no device" in refused(models("mixtral"), "--text", texts[0], "--device", "abacus")

"""From the command line: a larger corpus and byte pairs, from fetching to generating."""

import json

import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.data.fetching import parts_of

pytestmark = pytest.mark.filterwarnings("ignore:making tokens of tinystories")
SMOKE = ["train", "--preset", "smoke", "--steps", 6, "--corpus", "tinystories"]
PAIRS = ["--tokenizer", "bpe", "--vocab-size", 400]


@pytest.fixture
def call(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_from_fetching_to_writing(call, cache, hub, stories, tmp_path):
    assert "tinystories         not fetched" in call("data", "list").stdout
    refused = call(*SMOKE)
    assert refused.exit_code == 2
    assert "moe-lessons data prepare tinystories" in refused.stderr
    hub.documents, hub.breaks_after = stories, 150
    broken = call("data", "prepare", "tinystories")
    assert broken.exit_code == 2
    assert len([line for line in broken.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "fetched in part" in call("data", "list").stdout
    hub.breaks_after = None
    done = call("data", "prepare", "tinystories", *PAIRS)
    assert done.exit_code == 0, done.output
    assert "next: moe-lessons train --corpus tinystories --tokenizer bpe --vocab-size 400" in done.stdout
    assert [document.decode() for part in parts_of("tinystories") for document in part] == stories
    listed = call("data", "list").stdout
    assert "trusted on first use" in listed
    assert "tokens/tinystories-bpe-400-" in listed

    trained = call(*SMOKE, *PAIRS, "--out", "mine", "--result", "result.json")
    assert trained.exit_code == 0, trained.output
    assert "unigram, token frequencies" in trained.stdout
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["tokenizer"]["vocabulary"] == 400
    assert report["corpus"]["train_bytes"] > 2 * 4 * 32
    assert report["tokenizer"]["bytes_per_token"] > 1.5
    state = json.loads((tmp_path / "mine" / "step-000006" / "state.json").read_text())
    assert state["tokenizer_sha256"] == report["tokenizer"]["sha256"]
    written = call("generate", "--checkpoint", "mine", "--prompt", "Once there", "--tokens", 5)
    assert written.stdout.startswith("Once there")
    assert len(written.stdout) > len("Once there") + 4

    assert call("export", "mine", "--to", "folder").exit_code == 0
    kept = (tmp_path / "mine" / "tokenizer.json").read_bytes()
    assert (tmp_path / "folder" / "tokenizer.json").read_bytes() == kept
    assert json.loads((tmp_path / "folder" / "tokenizer_config.json").read_text())["model_max_length"] == 32
    assert call("import", "folder", "--to", "again").exit_code == 0
    same = call("generate", "--checkpoint", "again", "--prompt", "Once there", "--tokens", 5)
    assert same.stdout == written.stdout


def test_an_exported_tokenizer_cuts_text_as_ours(call, tmp_path):
    import transformers

    from moe_lessons.data import saved_tokenizer

    made = call(*SMOKE[:5], "--tokenizer", "bpe", "--vocab-size", 500, "--out", "mine")
    assert made.exit_code == 0, made.output
    assert call("export", "mine", "--to", "folder").exit_code == 0
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    ours = saved_tokenizer(tmp_path / "mine", vocab_size=500)
    for text in ("The for statement", "  if a . n't:\n\n\tGrüße 🙂", ""):
        assert theirs(text)["input_ids"] == ours.encode(text.encode()).tolist()
        assert theirs.decode(ours.encode(text.encode())) == text


def test_a_resumed_run_keeps_corpus_and_tokenizer(call, hub, stories, tmp_path, cache):
    hub.documents = stories
    assert call("data", "prepare", "tinystories", *PAIRS).exit_code == 0
    assert call(*SMOKE, *PAIRS, "--out", "whole").exit_code == 0
    assert call(*SMOKE, *PAIRS, "--out", "mine", "--steps", 3).exit_code == 0
    # The number of steps is part of a run's settings: make its checkpoint that of a longer run cut short.
    state_file = tmp_path / "mine" / "step-000003" / "state.json"
    state = json.loads(state_file.read_text())
    state["config"]["steps"] = 6
    state_file.write_text(json.dumps(state))

    def refused(part, *changes):
        result = call("train", "--resume", "mine", *changes)
        assert result.exit_code == 2
        assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
        assert part in result.stderr

    refused("model.vocab_size: 400 -> 401", "--vocab-size", 401)
    refused("tokenizer: bpe -> bytes", "--tokenizer", "bytes")
    (tokens,) = (path for path in (cache / "tokens").iterdir() if "-400-" in path.name)
    raw = (tokens / "train.bin").read_bytes()
    (tokens / "train.bin").write_bytes(raw[:-2] + b"\0\1")
    refused("train.bin is damaged (it does not match its checksum): delete")
    (tokens / "train.bin").write_bytes(raw)
    state_file.write_text(json.dumps({**state, "tokenizer_sha256": "another"}))
    refused("tokenizer_sha256: another -> ")
    state_file.write_text(json.dumps(state))
    resumed = call("train", "--resume", "mine")
    assert resumed.exit_code == 0, resumed.output
    hub.documents = [*stories, "One more."]
    assert call("data", "prepare", "tinystories", "--again", "--accept").exit_code == 0
    state["config"]["steps"] = 9
    state_file.write_text(json.dumps(state))
    result = call("train", "--resume", "mine/step-000003")
    assert "corpus_sha256" in result.stderr


def test_wrong_commands_are_one_line(call, tmp_path):
    for arguments, part in (
        (["data", "prepare", "tinystorys"], "unknown corpus 'tinystorys': did you mean 'tinystories'?"),
        (
            ["data", "prepare", "tinystories", "--from", "nowhere.txt"],
            "'--from': File 'nowhere.txt' does not exist",
        ),
        (["data", "prepare", "language-reference", "--tokenizer", "nope"], "tokenizer 'nope' does not exist"),
        (["train", "--preset", "smoke", "--tokenizer", "bpe", "--vocab-size", 100], "vocab_size=100"),
        (["train", "--preset", "smoke", "--vocab-size", 300], "'bytes' has 256 tokens; set vocab_size=256"),
    ):
        result = call(*arguments)
        assert result.exit_code == 2, arguments
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert part in errors[0]


def test_a_cache_that_cannot_be_written_is_one_line(call, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOE_LESSONS_CACHE", str(tmp_path / "file"))
    result = call("data", "prepare", "language-reference", *PAIRS)
    assert result.exit_code == 2
    assert "MOE_LESSONS_CACHE" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1

"""``moe-lessons upcycle`` and ``prune``: what they print, and one line with the remedy where they refuse."""

import json

import pytest
import torch
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.interop.exporting import export_model
from moe_lessons.model import ModelConfig, MoETransformer

transformers = pytest.importorskip("transformers")
MOE = ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8, n_experts=4, context_length=16)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the command line beside a small Llama and a small Mixtral."""
    monkeypatch.chdir(tmp_path)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained("llama")
    export_model(MoETransformer(MOE), "moe")
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, experts_implementation="eager").eval()


def test_upcycle(call):
    result = call("upcycle", "llama", "up", "--experts", 4, "--top-k", 2)
    assert result.exit_code == 0, result.output
    first, parameters, logits = result.output.splitlines()
    assert first == 'up: load it with transformers.AutoModelForCausalLM.from_pretrained("up")'
    dense, sparse = load("llama"), load("up")
    before, after = (sum(p.numel() for p in model.parameters()) for model in (dense, sparse))
    assert parameters.startswith(f"parameters: {before:,} before, {after:,} now; a token meets ")
    assert logits == "logits: those of the dense model, until you train it"
    tokens_BL = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(dense(tokens_BL).logits, sparse(tokens_BL).logits, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("more", [["--noise", "0.1"], ["--granularity", "2", "--router", "free"]])
def test_what_is_not_exact_is_said_to_be_so(call, more):
    result = call("upcycle", "llama", "up", "--experts", 4, *more)
    assert result.output.splitlines()[-1] == "logits: not quite those of the dense model, until you train it"


def test_prune(call):
    (result,) = (call("prune", "moe", "less", "--keep", 3, "--by", "reap", "--tokens", 64),)
    assert result.exit_code == 0, result.output
    assert load("less").config.num_local_experts == 3
    assert "now; a token meets" in result.output


def test_prune_counts_on_the_text_that_is_given(call, tmp_path):
    (tmp_path / "text.txt").write_bytes(bytes(range(64, 127)) * 4)
    assert call("prune", "moe", "less", "--keep", 3, "--text", "text.txt").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("upcycle", "nowhere", "up", "--experts", "4"), "nowhere is not a folder: give a run"),
        (("upcycle", "moe", "up", "--experts", "4"), "it has experts already; give a dense model"),
        (("upcycle", "llama", "moe", "--experts", "4"), "moe already holds something: choose another folder"),
        (("upcycle", "llama", "up", "--experts", "4", "--top-k", "5"), "top_k is 5: choose 1 to n_experts=4"),
        (
            ("upcycle", "llama", "up", "--experts", "4", "--granularity", "3"),
            "choose a multiple of granularity=3",
        ),
        (("upcycle", "llama", "up", "--experts", "4", "--noise", "-1"), "noise is -1.0: choose 0 or more"),
        (("upcycle", "llama", "up"), "Missing option '--experts'"),
        (("prune", "nowhere", "less", "--keep", "3"), "nowhere is not a folder: give a run"),
        (("prune", "llama", "less", "--keep", "3"), "model_type is 'llama': only 'mixtral'"),
        (("prune", "moe", "llama", "--keep", "3"), "llama already holds something"),
        (("prune", "moe", "less", "--keep", "1"), "a token gets top_k=2, choose at least 2"),
        (("prune", "moe", "less", "--keep", "5"), "keep is 5 with 4 experts: choose 1 to 4"),
        (("prune", "moe", "less", "--keep", "3", "--text", "none.txt"), "File 'none.txt' does not exist"),
        (("prune", "moe", "less", "--keep", "-3"), "'--keep': -3 is not in the range x>=1"),
        (("prune", "moe", "less", "--keep", "3", "--text", "llama"), "'--text': File 'llama' is a directory"),
    ],
)
def test_refused_in_one_line(call, tmp_path, arguments, said):
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "up").exists()
    assert not (tmp_path / "less").exists()


def test_another_family_is_refused_with_the_reason(call, tmp_path):
    path = tmp_path / "llama" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "qwen3"}))
    result = call("upcycle", "llama", "up", "--experts", 4)
    assert "it norms queries and keys, which Mixtral does not; give a model of type llama" in result.stderr

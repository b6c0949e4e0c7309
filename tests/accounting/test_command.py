"""`moe-lessons count`."""

import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from moe_lessons.accounting import published
from moe_lessons.commands.cli import main

KEYS = {
    "total",
    "active",
    "active_excl_input_embedding",
    "active_excl_embed_and_head",
    "components",
    "flops",
    "bytes",
}


def run(*arguments):
    return CliRunner().invoke(main, ["count", *map(str, arguments)])


def integers(value):
    if isinstance(value, dict):
        return all(integers(item) for item in value.values())
    return type(value) is int


def test_json_holds_integers():
    found = json.loads(run("Mixtral-8x7B", "--json").stdout)
    assert set(found) >= KEYS
    assert all(integers(found[key]) for key in KEYS)
    assert (found["total"], found["active"]) == (46_702_792_704, 12_879_925_248)
    assert sum(found["components"].values()) == found["total"]
    assert found["bytes"]["weights"]["bf16"] == 2 * found["total"]
    assert found["bytes"]["kv_cache_per_token"] == 131_072


def test_several_models_are_a_list():
    found = json.loads(run("Mixtral-8x7B", "DeepSeek-V3", "--json").stdout)
    assert [model["total"] for model in found] == [46_702_792_704, 671_026_404_352]


def test_options_change_what_they_say():
    few, many = (json.loads(run("DeepSeek-V3", "--json", "--batch", n).stdout) for n in (1, 64))
    assert few["experts"][0]["touched_in_decode"] == 8
    assert round(many["experts"][0]["touched_in_decode"]) == 222
    assert many["bytes"]["kv_cache"] == 64 * few["bytes"]["kv_cache"]
    short, long = (json.loads(run("DBRX", "--json", "--context", n).stdout) for n in (1, 10_000))
    assert short["flops"]["decode_per_token"] < long["flops"]["decode_per_token"]
    full, half = (json.loads(run("DBRX", "--json", "--dtype", d).stdout) for d in ("bf16", "mxfp4"))
    assert half["bytes"]["decode_read"] < full["bytes"]["decode_read"]


def test_a_table_shows_exact_numbers_side_by_side():
    done = run("mixtral 8x7b", "deepseek-v3", "Llama-2-70B")
    assert done.exit_code == 0
    for text in (
        "46,702,792,704",
        "671,026,404,352",
        "68,976,648,192",
        "arXiv:2401.04088",
        "published: 671B",
    ):
        assert text in done.stdout


def test_many_models_stand_one_a_line():
    done = run(*published())
    assert done.exit_code == 0
    for text in ("46,702,792,704", "1,571,308,972,448", "Llama-2-7B"):
        assert text in done.stdout
    assert len(json.loads(run(*published(), "--json").stdout)) == len(published())


def test_the_list_names_every_model():
    assert run("--list").stdout.split("\n")[:-1] == list(published())


def test_the_families_are_named():
    names = run("--families").stdout.split("\n")[:-1]
    assert names == sorted(names)
    assert {"mixtral", "qwen3_vl_moe", "kimi_k3", "minimax_m3", "step3p7", "nllb_moe"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["mixtral-8x7"], 2, "did you mean Mixtral-8x7B"),
        (["Mixtral-8x7B", "mixtral-8x7"], 2, "mixtral-8x7: no model"),
        (["/nowhere/config.json"], 2, "there is no file"),
        (["Mixtral-8x7B", "--dtype", "int3"], 2, "int3"),
        (["Mixtral-8x7B", "--context", "0"], 2, "0 is not in the range"),
        (["Mixtral-8x7B"] * 101, 2, "at most 100"),
        ([], 2, ""),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, code, message):
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output
    if message:
        assert done.stderr.count("\n") == 1


def test_it_answers_fast_and_without_torch_or_transformers(within):
    code = (
        "import sys; from moe_lessons.commands.cli import main\n"
        "try: main(['count', 'Mixtral-8x7B', *sys.argv[1:]])\n"
        "finally: heavy = {'torch', 'transformers', 'numpy', 'rich'}; "
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for arguments, loaded in ((["--json"], ""), ([], "rich")):
        elapsed = []
        for _ in range(3):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                capture_output=True,
                text=True,
                env=os.environ,
                check=True,
            )
            elapsed.append(time.perf_counter() - start)
        assert done.stderr.strip() == loaded
        within(min(elapsed), 0.7)

"""The committed result: it is whole, says what it took, and what no seed can change is so in every row."""

import json
import math
from importlib.resources import files

import pytest

RESULT = json.loads((files("moe_lessons") / "results" / "adaptation.json").read_text(encoding="utf-8"))
PARTS = {
    "starts": 3 * 7,
    "upcycling": 3 * (2 * 4 + 2),
    "replay": 3 * 2,
    "perturbation": 3 * 8 + 2,
    "merging": 3 * 4 * 3,
    "pruning": 3 * 5 * 3,
    "pruning, 32 experts": 4 * 3 + 2 * 3,
    "distilling": 3 * 5,
    "finetuning": 3 * 2 * 8,
}


def numbers(value):
    if isinstance(value, dict | list):
        return [n for one in (value.values() if isinstance(value, dict) else value) for n in numbers(one)]
    return [value] if isinstance(value, float) else []


def test_every_part_is_there():
    assert RESULT["about"]["script"] == "benchmarks/adaptation.py"
    assert set(RESULT) - {"about"} == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_whole(part):
    found = RESULT[part]
    assert len(found["rows"]) == PARTS[part]
    assert len({json.dumps(row, sort_keys=True) for row in found["rows"]}) == PARTS[part]
    assert 0 < found["cpu_s"] < 1200
    assert all(map(math.isfinite, numbers(found["rows"])))
    if "model" not in found["settings"]:  # parts that train have three seeds
        assert {row["seed"] for row in found["rows"]} == {0, 1, 2}


def test_what_is_exact_is_exact():
    for row in RESULT["starts"]["rows"]:
        if row["kind"] in ("copies", "slices, shared rows"):
            assert row["bits"] == pytest.approx(row["dense"], abs=1e-3)
        if row["kind"] == "copies":
            assert row["largest router gradient"] < 1e-6
    for row in RESULT["upcycling"]["rows"]:
        dense = {r["seed"]: r["dense"] for r in RESULT["starts"]["rows"]}
        assert row["kind"].startswith("from scratch") or row["before"] == pytest.approx(
            dense[row["seed"]], abs=1e-3
        )
    for row in RESULT["finetuning"]["rows"]:
        if row["plan"] == "only experts":
            assert row["moved on base"][0] == row["moved on code"][0] == 0


def test_larger_errors_send_more_tokens_elsewhere():
    for seed in range(3):
        rows = [r for r in RESULT["perturbation"]["rows"] if r["seed"] == seed and "float" not in r["error"]]
        shares = [r["changed in any"] for r in sorted(rows, key=lambda r: float(r["error"]))]
        assert shares == sorted(shares)

"""The choice of a path: its rule, and that the path chosen is the path taken."""

import sys
from unittest import mock

import pytest
import torch
from dispatch_cases import draw_case

from moe_lessons.dispatch import PATHS, choose, moe_auto, moe_loop

fp32, bf16, fp64 = torch.float32, torch.bfloat16, torch.float64


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((4096, 8, 256, 512, fp32), {}, "fused"),
        ((128, 8, 512, 1024, fp32), {}, "grouped"),  # 16 rows
        ((128, 8, 512, 1024, bf16), {}, "grouped"),
        ((4096, 8, 256, 512, bf16), {}, "fused"),
        ((4096, 8, 256, 512, bf16), {"largest_load": 4096}, "fused"),  # no padding whatever the skew
        ((8192, 64, 128, 128, fp32), {}, "grouped"),
        ((8192, 64, 128, 128, fp32), {"threads": 2}, "padded"),
        ((8192, 64, 128, 128, fp32), {"threads": 2, "largest_load": 900}, "grouped"),
        ((8192, 64, 128, 128, bf16), {"largest_load": 160}, "padded"),
        ((8192, 64, 128, 128, bf16), {"largest_load": 900}, "grouped"),  # too uneven to pad
        ((512, 64, 512, 256, bf16), {"largest_load": 16}, "counted"),
        ((512, 64, 512, 256, fp32), {"largest_load": 16}, "grouped"),
        ((512, 64, 512, 256, fp32), {"largest_load": 16, "threads": 2}, "counted"),
        ((64, 64, 512, 256, bf16), {"largest_load": 4}, "grouped"),
        ((64, 64, 512, 256, bf16), {"largest_load": 4, "threads": 2}, "counted"),
        ((16, 8, 512, 1024, fp32), {"threads": 2}, "counted"),
        ((16, 8, 512, 1024, bf16), {}, "grouped"),  # one thread: batched ones read at half the speed
        ((16, 8, 512, 1024, bf16), {"threads": 2}, "counted"),
        ((16, 8, 512, 1024, bf16), {"threads": 2, "gradients": True}, "padded"),
        ((520, 64, 512, 256, bf16), {"largest_load": 16}, "padded"),
        ((512, 64, 512, 256, bf16), {"largest_load": 100}, "grouped"),
        ((16, 8, 1024, 1024, bf16), {"threads": 2}, "grouped"),
        ((2, 8, 512, 1024, bf16), {"threads": 2, "gradients": True}, "grouped"),  # most experts are idle
        ((2, 8, 512, 1024, fp32), {}, "slots"),
        ((2, 8, 512, 1024, fp32), {"gradients": True}, "grouped"),
        ((8, 64, 512, 256, bf16), {"gradients": False}, "slots"),
        ((9, 64, 512, 256, fp32), {"gradients": False}, "grouped"),
        ((512, 64, 512, 256, fp64), {"grouped": False}, "fused"),
        ((0, 8, 512, 256, fp32), {"gradients": True}, "grouped"),
        ((4096, 8, 256, 512, bf16), {"device": "cuda"}, "grouped"),
        ((4096, 8, 256, 512, fp64), {"device": "cuda", "grouped": False}, "unbind"),
    ],
)
def test_the_rule(arguments, options, expected):
    assert choose(*arguments, **options) == expected
    assert expected in PATHS


@pytest.mark.parametrize("path", ["slots", "counted", "fused", "padded", "grouped"])
def test_auto_takes_the_path_that_is_chosen(path, monkeypatch):
    module = sys.modules[choose.__module__]
    taken = []
    function = getattr(module, f"moe_{path}")
    monkeypatch.setattr(module, "choose", lambda *_, **__: path)
    monkeypatch.setattr(module, f"moe_{path}", lambda *given: taken.append(path) or function(*given))
    case = draw_case(9, 8, 8, 3, 2, dtype=torch.float32)
    torch.testing.assert_close(moe_auto(*case), moe_loop(*case))
    assert taken == [path]


def test_auto_knows_the_load():
    module = sys.modules[choose.__module__]
    even = draw_case(64, 8, 8, 4, 1, dtype=torch.bfloat16)
    even[1][:] = torch.arange(64).unsqueeze(1) % 4
    uneven = [even[0], torch.zeros_like(even[1]), *even[2:]]
    for case, expected in ((even, "padded"), (uneven, "grouped")):
        asked = mock.Mock(side_effect=choose)
        with mock.patch.object(module, "choose", asked):
            moe_auto(*case)
        assert choose(*asked.call_args.args, **asked.call_args.kwargs) == expected


def test_auto_counts_only_where_loads_are_even(monkeypatch):
    module = sys.modules[choose.__module__]
    taken = []
    for path in ("counted", "grouped"):
        function = getattr(module, f"moe_{path}")

        def noted(*given, path=path, function=function):
            taken.append(path)
            return function(*given)

        monkeypatch.setattr(module, f"moe_{path}", noted)
    even = draw_case(64, 8, 8, 4, 1, dtype=torch.bfloat16)
    even[1][:] = torch.arange(64).unsqueeze(1) % 4
    uneven = [even[0], torch.zeros_like(even[1]), *even[2:]]
    with torch.no_grad():
        for case in (even, uneven):
            torch.testing.assert_close(moe_auto(*case), moe_loop(*case))
    assert taken == ["counted", "grouped"]
    with pytest.raises(ValueError, match="runs from 1 to 4 with 4 experts"), torch.no_grad():
        moe_auto(even[0], even[1] + 1, *even[2:])

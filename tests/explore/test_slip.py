import importlib.util
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from marks import marks, said

from moe_lessons.build import paths
from moe_lessons.explore import Slip
from moe_lessons.explore.slip import state as slip_state
from moe_lessons.explore.slip import strips, view
from moe_lessons.explore.slip.state import ORDERS, Params, recorded, shares, simulate, somewhere

FOUND = recorded()
N, LAYERS, LAST = FOUND.n_tokens, len(FOUND.margins), len(FOUND.sizes) - 1
EVERY = [Params(size, order, bf16) for size in range(LAST + 1) for order in ORDERS for bf16 in (False, True)]
params_of = st.sampled_from(EVERY)


# What it proves.


def late_among(pairs):
    """Of all pairs of one that slips and one that stays, how often the first has more: .5 is no order."""
    slip, stay = ([value for value, slips in pairs if slips is so] for so in (True, False))
    wins = sum((a > b) + (a == b) / 2 for a in slip for b in stay)
    return wins / (len(slip) * len(stay))


def test_who_slips_in_bf16_is_a_matter_of_the_margin_and_of_nothing_else_that_was_offered():
    """Each option of the question is held against the measured pass."""
    order = {
        name: late_among(
            [
                (value, digit == "1")
                for layer, slipped in enumerate(FOUND.bf16_slipped)
                for value, digit in zip(strips.values(name, layer), slipped, strict=True)
            ]
        )
        for name in ORDERS
    }
    assert order["margin"] < 0.12
    assert 0.3 < order["place"] < 0.7
    assert 0.3 < order["letter"] < 0.7
    question = Slip.questions[0]
    assert "equal scores" in question.options[question.truth]


def test_a_tenth_of_the_error_makes_about_a_tenth_slip():
    few, more = (simulate(Params(FOUND.sizes.index(size))).shares for size in (0.001, 0.01))
    assert 5 < sum(more[:-1]) / sum(few[:-1]) < 20


def test_who_slips_at_a_tenth_of_the_error_jumps_nearly_as_far_and_who_stays_moves_a_tenth():
    moved = {}
    for size in (0.001, 0.01):
        state = simulate(Params(FOUND.sizes.index(size)))
        for astray in (True, False):
            found = [r for r, is_so in zip(state.run.own, state.astray, strict=True) if is_so is astray]
            moved[size, astray] = statistics.median(found)
    assert moved[0.001, True] > moved[0.01, True] / 3
    assert moved[0.001, False] < moved[0.01, False] / 5
    assert moved[0.001, True] > 20 * moved[0.001, False]


def test_replay_leaves_no_jump_at_any_size():
    for run in (*FOUND.passes, FOUND.bf16):
        assert max(run.replayed) < max(run.own) / 3
        assert max(run.replayed) < view.CLIP / 2


def test_whoever_slips_jumps_at_every_size_and_no_longer_when_replayed():
    for size in view.STRIP:
        state = simulate(Params(size))
        own = list(zip(state.run.own, state.astray, strict=True))
        slip, stay = (statistics.median(r for r, is_so in own if is_so is so) for so in (True, False))
        assert slip > 5 * stay
        again = list(zip(state.run.replayed, state.astray, strict=True))
        slip, stay = (statistics.median(r for r, is_so in again if is_so is so) for so in (True, False))
        assert slip < 3 * stay


# The data.


def test_the_batch_is_whole_and_small_and_says_where_it_comes_from():
    file = files("moe_lessons.explore.slip") / "batch.json"
    text = file.read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["about"]["script"] == "benchmarks/slip.py"
    assert {"torch", "device", "threads"} <= set(found["about"])
    assert len(text) < 100_000
    settings = found["settings"]
    assert (settings["n_layers"], settings["n_experts"], settings["top_k"], settings["steps"]) == (
        8,
        16,
        2,
        30,
    )
    assert list(FOUND.sizes) == sorted(FOUND.sizes)
    assert (FOUND.sizes[0], FOUND.sizes[-1]) == (1e-4, 1e-1)
    for layers in (FOUND.margins, FOUND.slips_from, FOUND.bf16_slipped):
        assert [len(layer) for layer in layers] == [N] * LAYERS
    assert len(FOUND.predicting) == N - N // FOUND.window
    for run in (*FOUND.passes, FOUND.bf16):
        assert len(run.own) == len(run.replayed) == len(FOUND.predicting)
        assert len(run.shares) == LAYERS
    assert set(FOUND.text) == set(FOUND.seen)
    assert all(margin >= 0 for layer in FOUND.margins for margin in layer)


def test_in_the_first_layer_a_whole_pass_is_the_layer_by_itself():
    """Nothing has gone wrong before it: two ways to the same shares."""
    for size, run in enumerate(FOUND.passes):
        assert simulate(Params(size)).shares[0] == pytest.approx(run.shares[0], abs=1e-3)


def test_bf16_is_told_twice_alike():
    assert somewhere(FOUND.bf16_slipped) == FOUND.bf16.slipped
    assert shares(FOUND.bf16_slipped)[:-1] == pytest.approx(FOUND.bf16.shares, abs=1e-3)


def test_a_token_slips_only_where_the_noise_could_close_its_margin():
    """Two draws of a normal noise are hardly farther apart than 8 of its widths."""
    for margins, starts in zip(FOUND.margins, FOUND.slips_from, strict=True):
        assert all(start > margin / 8 for margin, start in zip(margins, starts, strict=True))


def script():
    spec = importlib.util.spec_from_file_location("slip_script", paths.ROOT / "benchmarks" / "slip.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_measures_this_batch_again():
    """Its model is trained again; another machine rounds otherwise, so that numbers are near, not equal."""
    torch.set_num_threads(1)
    slip = script()
    model, tokens_BL = slip.trained()
    assert bytes(tokens_BL.flatten().tolist()).decode() == FOUND.text
    again = slip.measure(model, tokens_BL)
    for name, before in (("margins", FOUND.margins), ("slips from", FOUND.slips_from)):
        pairs = [
            (new, old)
            for mine, theirs in zip(again[name], before, strict=True)
            for new, old in zip(mine, theirs, strict=True)
            if new is not None and math.isfinite(old)
        ]
        near = sum(abs(new - old) < 0.02 * old + 1e-3 for new, old in pairs)
        assert near > 0.95 * len(pairs)
    for mine, theirs in zip(again["passes"], FOUND.passes, strict=True):
        assert mine["changed by layer"] == pytest.approx(theirs.shares, abs=0.03)


# The state.


@given(params_of)
def test_state_is_a_count_of_the_file(params):
    state = simulate(params)
    assert state.size == FOUND.sizes[params.size]
    for layer, slipped in enumerate(state.slipped):
        assert [digit == "1" for digit in slipped] == [s < state.size for s in FOUND.slips_from[layer]]
        assert state.shares[layer] == slipped.count("1") / N
    assert max(state.shares[:-1]) <= state.shares[-1] <= sum(state.shares[:-1])
    assert len(state.astray) == len(state.run.own)


def test_a_larger_error_loses_nobody_who_has_slipped():
    for smaller, larger in itertools.pairwise(range(LAST + 1)):
        few, more = simulate(Params(smaller)), simulate(Params(larger))
        for a, b in zip(few.slipped, more.slipped, strict=True):
            assert all(before <= after for before, after in zip(a, b, strict=True))


def test_margins_are_cut_into_classes_without_a_rest():
    classes = slip_state.by_margin(view.EDGES)
    assert sum(there for _, there in classes) == N * LAYERS
    assert sum(slipped for slipped, _ in classes) == sum(s.count("1") for s in FOUND.bf16_slipped)
    rates = [slipped / there for slipped, there in classes]
    assert rates == sorted(rates, reverse=True)


# The explorable.


def test_who_slips_is_not_told_before_the_prediction(page_of):
    page = page_of(Slip())
    assert page.locked("Error")
    assert page.locked("Sorted by")
    words = " ".join(said(marks(page.shown["svg"])))
    assert "margin" not in words
    page.commit(0)
    assert not page.locked("Error")
    assert page.explorable.params.order == "margin"
    words = " ".join(said(marks(page.shown["svg"])))
    assert "margin" in words


def test_open_from_the_start_it_is_sorted_by_margin():
    assert Slip(locked=False).params.order == "margin"
    assert Slip(Params(3, "letter"), locked=False).params.order == "letter"


def test_controls_and_landmarks_lead_where_they_say():
    slip = Slip(locked=False)
    assert [control.label for control in slip.controls()] == ["Error", "Sorted by", "bf16"]
    size, order, bf16 = slip.controls()
    for n in range(LAST + 1):
        moved = size.write(slip.params, n)
        assert (size.read(moved), size.say(moved)) == (n, f"{FOUND.sizes[n]:g}")
    assert {value for _, value in order.options} == set(ORDERS)
    for _, value in order.options:
        assert order.read(order.write(slip.params, value)) == value
    assert bf16.read(bf16.write(slip.params, True))
    for landmark in slip.landmarks():
        params = landmark.go(slip.params)
        assert params in EVERY
        if landmark.hint[:1].isdigit():
            assert FOUND.sizes[params.size] == float(landmark.hint)


def test_captions_ask_and_differ():
    asked = {view.question(simulate(params)) for params in EVERY}
    assert all("?" in question for question in asked)
    assert len(asked) == 5


def test_strip_and_reveal_say_what_they_show():
    slip = Slip()
    strip, answer = slip.static(), slip.reveal(0)
    assert strip.svg == Slip().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    for size in view.STRIP:
        state = simulate(Params(size))
        assert f"error {state.size:g}: {sum(state.astray)} of {len(state.astray)} slip" in strip.alt
    for slipped, there in slip_state.by_margin(view.EDGES):
        assert f"{slipped} of {there:,}" in answer.alt


def test_a_frame_is_fast(within):
    times = []
    for i in range(30):
        start = time.process_time()
        Slip.draw(simulate(EVERY[7 * i % len(EVERY)]))
        times.append(time.process_time() - start)
    within(statistics.median(times), 0.030)


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Slip; Slip(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

import json
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.explore.balancing_race import state as balancing_race_state
from moe_lessons.explore.balancing_race import view as balancing_race_view
from moe_lessons.explore.balancing_race.explorable import LAST, BalancingRace
from moe_lessons.explore.balancing_race.state import (
    ALPHAS,
    EVERY,
    LANES,
    RATES,
    SEEDS,
    STEPS,
    Params,
    simulate,
)
from moe_lessons.toy import race

params_of = st.builds(
    Params,
    alpha=st.sampled_from(ALPHAS),
    rate=st.sampled_from(RATES),
    step=st.integers(0, STEPS // EVERY - 1).map(lambda frame: EVERY * frame),
    seed=st.integers(0, SEEDS - 1),
)


# What it proves.


def test_the_answers_of_the_questions_hold_in_the_file():
    even = simulate(Params(1.0, 0.001, LAST))
    costs = [even.cost(lane) for lane in range(4)]
    assert costs.index(max(costs)) == BalancingRace.questions[0].truth
    assert abs(even.lanes[1].vio - even.lanes[2].vio) < 0.05
    high = simulate(Params(10.0, 0.3, LAST))
    assert min(high.cost(1), high.cost(2)) > 0.03
    assert BalancingRace.questions[1].truth == 2


def test_well_set_both_cost_nothing():
    good = simulate(Params(0.1, 0.003, LAST))
    assert max(good.cost(1), good.cost(2)) < 0
    assert max(good.lanes[1].vio, good.lanes[2].vio) < 0.35 < good.lanes[0].vio


def test_expert_choice_is_even_at_every_step():
    assert all(simulate(Params(step=step)).lanes[3].vio == 0 for step in range(0, STEPS, EVERY))


# The state.


def test_the_grid_is_the_one_that_the_benchmark_runs():
    names = set(race.runs(race.Toy(n_seeds=1)))
    assert names == set(balancing_race_state.grid())
    assert (race.ALPHAS, race.RATES, race.EVERY) == (ALPHAS, RATES, EVERY)
    text = (files("moe_lessons") / "results" / "balancing_race.json").read_text(encoding="utf-8")
    about = json.loads(text)
    assert about["settings"] == {"mu": race.MU, "n_seeds": 16, "steps": STEPS, "every": EVERY}
    assert {"commit", "torch", "device"} <= set(about["about"])
    assert len(text) < 100_000


@given(params_of)
def test_state_adds_up(params):
    state = simulate(params)
    assert [lane.name for lane in state.lanes] == list(LANES)
    for lane in state.lanes:
        assert sum(lane.load_E) == pytest.approx(1)
        assert lane.error > 0
        assert 0 <= lane.vio < 7
    assert state.loss_curve[ALPHAS.index(params.alpha)] == (state.lanes[1].vio, state.lanes[1].error)
    assert state.bias_curve[RATES.index(params.rate)] == (state.lanes[2].vio, state.lanes[2].error)


@given(params_of, st.sampled_from(ALPHAS), st.sampled_from(RATES))
def test_a_knob_moves_its_own_lane_only(params, alpha, rate):
    other = simulate(Params(alpha, rate, params.step, params.seed))
    same = simulate(params)
    assert (other.lanes[0], other.lanes[3]) == (same.lanes[0], same.lanes[3])
    assert (other.lanes[1] == same.lanes[1]) == (alpha == params.alpha)


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None)
@given(params_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(BalancingRace.draw(simulate(params)))
    assert root.get("role") == "img"
    # A frame that changes its height would move the controls under the pointer.
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


SIZE = ET.fromstring(BalancingRace.draw(simulate(Params()))).get("height")


def test_the_frame_names_axes_units_and_lanes():
    shown = texts(BalancingRace.draw(simulate(Params(step=LAST))))
    assert "error above that without balancing (thousandths)" in shown
    assert any(word.startswith("MaxVio:") for word in shown)
    assert {"N", "L", "B", "E", *(str(e) for e in range(8))} <= set(shown)
    assert sum(word.startswith(LANES) for word in shown) == 4


@given(params_of)
def test_captions_ask(params):
    assert balancing_race_view.question(simulate(params)).endswith("?")


def test_caption_follows_what_happened():
    captions = [
        balancing_race_view.question(simulate(p))
        for p in (
            Params(),
            Params(1.0, 0.001, LAST),
            Params(10.0, 0.001, LAST),
            Params(1.0, 0.3, LAST),
            Params(0.01, 0.001, LAST),
            Params(0.1, 0.003, LAST),
        )
    ]
    assert len(set(captions)) == 6


def test_static_strip_reveals_and_landmarks():
    shown = BalancingRace()
    strip = shown.static()
    assert strip.svg == BalancingRace().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert len(texts(strip.svg)) > 40
    for question in (0, 1):
        ET.fromstring(shown.reveal(question).svg)
    for landmark in shown.landmarks():
        simulate(landmark.go(Params(seed=1)))


def test_it_unlocks_after_both_predictions():
    shown = BalancingRace()
    assert shown.commit(0).startswith("✘")
    assert shown.locked
    assert shown.commit(2).startswith("✔")
    assert not shown.locked


def test_a_frame_is_fast():
    simulate(Params())
    times = []
    for i in range(30):
        start = time.process_time()
        BalancingRace.draw(simulate(Params(ALPHAS[i % 7], RATES[i % 5], EVERY * i)))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import BalancingRace; BalancingRace(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# What lies beyond an axis is marked, and said.


@pytest.mark.parametrize("step", [0, 40, 580])
def test_what_is_off_the_scale_says_so(step):
    state = simulate(Params(step=step))
    costs = {letter: 1000 * state.cost(i) for i, letter in enumerate("NLBE")}
    outside = {x for x, cost in costs.items() if not -20 <= cost <= 100}
    drawn = balancing_race_view.draw(state)
    assert ("off the scale" in drawn) == bool(outside)
    for letter in outside:
        assert f"{letter} {round(costs[letter]):+d}".replace("-", "−") in drawn


def test_a_point_outside_has_a_pointer_outwards():
    first = balancing_race_view.draw(simulate(Params(step=0)))
    last = balancing_race_view.draw(simulate(Params(step=580)))
    assert "<polygon" in first
    assert "<polygon" not in last

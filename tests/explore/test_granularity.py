import json
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.explore.granularity import state as granularity_state
from moe_lessons.explore.granularity import view as granularity_view
from moe_lessons.explore.granularity.explorable import Granularity
from moe_lessons.explore.granularity.state import AT_ONCE, GRAINS, RATES, Params, simulate
from moe_lessons.toy import granularity

params_of = st.builds(
    Params,
    at_once=st.sampled_from(AT_ONCE),
    granularity=st.sampled_from(GRAINS),
    rate=st.sampled_from(RATES),
    best=st.booleans(),
)


# What it proves.


def test_the_answers_of_the_questions_hold_in_the_file():
    best, small = simulate(Params(best=True)), simulate(Params())
    assert GRAINS.index(best.lowest.granularity) == Granularity.questions[0].truth
    assert GRAINS.index(small.lowest.granularity) == Granularity.questions[1].truth


def test_one_teacher_carries_both_headlines():
    assert simulate(Params(1, 8, 0.003)).wins(8) >= 13
    assert simulate(Params(1, 8, 0.03)).wins(8) <= 3


def test_it_depends_on_what_a_token_needs():
    one, four = simulate(Params(1, 8, best=True)), simulate(Params(4, 8, best=True))
    assert one.columns[3].mean > 1.2 * one.columns[0].mean
    assert four.columns[3].mean < 0.8 * four.columns[0].mean
    assert four.wins(8) == 16
    assert one.wins(8) <= 3


def test_the_best_cut_does_not_follow_the_number_of_skills():
    assert [simulate(Params(n, best=True)).lowest.granularity for n in (2, 4, 8)] == [8, 8, 8]


# The state.


def test_the_grid_is_the_one_that_the_benchmark_runs():
    assert (granularity.AT_ONCE, granularity.GRAINS, granularity.RATES) == (AT_ONCE, GRAINS, RATES)
    text = (files("moe_lessons") / "results" / "granularity.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert {"commit", "torch", "device", "cpu_s", "wall_s"} <= set(found["grid"]["about"])
    assert found["grid"]["settings"] == {"n_seeds": 16, "steps": 400}
    assert len(granularity_state.grid()) == 48
    assert len(text) < 30_000


@given(params_of)
def test_state_adds_up(params):
    state = simulate(params)
    assert [column.granularity for column in state.columns] == list(GRAINS)
    for column in state.columns:
        assert len(column.errors) == 16
        assert min(column.errors) <= column.mean <= max(column.errors)
        assert max(column.errors) < granularity_view.HIGHEST  # no dot leaves the picture
        assert params.best or column.rate == params.rate
    assert state.experts * state.units == 8 * 16
    assert state.chosen == params.granularity


@given(st.sampled_from(AT_ONCE), st.sampled_from(RATES))
def test_no_rate_is_better_than_the_best(at_once, rate):
    best, one = simulate(Params(at_once, best=True)), simulate(Params(at_once, rate=rate))
    assert all(b.mean <= o.mean for b, o in zip(best.columns, one.columns, strict=True))


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


SIZE = ET.fromstring(Granularity.draw(simulate(Params()))).get("height")


@given(params_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Granularity.draw(simulate(params)))
    assert root.get("role") == "img"
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


@given(params_of)
def test_dots_lie_where_the_axis_says(params):
    state = simulate(params)
    root = ET.fromstring(Granularity.draw(state))
    ticks = {}
    for e in root.iter():
        if (
            e.tag.endswith("}text")
            and e.text in ("0", "0.2", "0.4", "0.6", "0.8")
            and e.get("text-anchor") == "end"
        ):
            ticks[float(e.text)] = float(e.get("y")) - 4
    per_unit = (ticks[0.0] - ticks[0.8]) / 0.8
    drawn = sorted(
        (ticks[0.0] - float(e.get("cy"))) / per_unit for e in root.iter() if e.tag.endswith("}circle")
    )
    errors = sorted(error for column in state.columns for error in column.errors)
    assert drawn == pytest.approx(errors, abs=0.002)


@given(params_of)
def test_captions_ask(params):
    assert granularity_view.question(simulate(params)).endswith("?")


def test_a_click_on_a_column_chooses_it():
    drawn = Granularity.draw(simulate(Params()))
    picks = [e.get("data-pick") for e in ET.fromstring(drawn).iter() if e.get("data-pick")]
    assert [json.loads(one) for one in picks] == [{"Slices": g} for g in GRAINS]
    assert "Slices" in {control.label for control in Granularity().controls()}


def test_static_strip_reveals_and_landmarks():
    shown = Granularity()
    strip = shown.static()
    assert strip.svg == Granularity().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    for question in (0, 1):
        ET.fromstring(shown.reveal(question).svg)
    for landmark in shown.landmarks():
        simulate(landmark.go(Params(2, 4, 0.01)))


def test_it_unlocks_after_both_predictions():
    shown = Granularity()
    assert shown.commit(3).startswith("✘")
    assert shown.locked
    assert shown.commit(3).startswith("✔")
    assert not shown.locked


def test_a_frame_is_fast():
    simulate(Params())
    times = []
    for i in range(30):
        start = time.process_time()
        Granularity.draw(simulate(Params(AT_ONCE[i % 4], GRAINS[i % 3], RATES[i % 2], bool(i % 5))))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Granularity; Granularity(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

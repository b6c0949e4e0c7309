import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.explore.collapse import view as collapse_view
from moe_lessons.explore.collapse.explorable import Collapse
from moe_lessons.explore.collapse.state import KS, MUS, SEEDS, STARTS, STEPS, E, Params, grid, simulate
from moe_lessons.metrics import effective_experts
from moe_lessons.toy import TopK, Toy, ToyRun

settings_of = st.builds(
    Params,
    mu=st.sampled_from(MUS),
    start=st.sampled_from(STARTS),
    k=st.sampled_from(KS),
    seed=st.integers(0, SEEDS - 1),
    step=st.sampled_from(STEPS),
)


def median(step, **changes):
    return simulate(Params(step=step, **changes)).median


# What it proves.


def test_the_answers_of_the_questions_hold():
    first, second = Collapse.questions
    assert first.options[first.truth] == "About 3"
    assert 2.3 < median(200) < 3.5
    ends, starts = simulate(Params(step=200)).effective_S, simulate(Params()).effective_S
    assert all(end < start for end, start in zip(ends, starts, strict=True))
    assert f"{min(ends):.1f}" in first.because
    assert f"{max(ends):.1f}" in first.because
    assert f"{median(0):.1f} effective" in first.text
    assert second.options[second.truth] == "Nearly 8"
    assert f"{median(0, mu=0.0, k=2):.1f} effective" in second.text
    assert median(200, mu=0.0, k=2) > max(7.4, median(0, mu=0.0, k=2))


def test_more_in_common_collapses_further():
    for k in KS:
        ends = [median(200, mu=mu, k=k) for mu in MUS]
        assert ends == sorted(ends, reverse=True)


def test_an_even_start_is_the_same_for_every_geometry_and_a_drawn_one_is_not():
    even = [median(0, mu=mu) for mu in MUS]
    assert max(even) - min(even) < 0.1
    drawn = [median(0, mu=mu, start="random") for mu in MUS]
    assert drawn[0] - drawn[-1] > 4
    assert median(200, start="random") > median(0, start="random")


@pytest.mark.parametrize(("mu", "k"), [(4.0, 1), (0.0, 2)])
def test_the_grid_is_what_the_toy_does(mu, k):
    """The first steps again, number by number; the end is chaotic, so its median with a margin."""
    run = ToyRun(Toy(mu=mu, even_start=True), TopK(k, renormalize=k > 1)).advance(200)
    cell = grid()[mu, "even", k]
    first_SE = torch.tensor(cell["shares_per_mille_PSE"][0]) / 1000
    torch.testing.assert_close(run.shares_NSE[0, :SEEDS], first_SE, atol=0.005, rtol=0)
    early = effective_experts(run.shares_NSE[:10].mean(0))
    torch.testing.assert_close(early, torch.tensor(cell["effective_PS"][1]), atol=0.1, rtol=0)
    late = effective_experts(run.shares_NSE[-10:].mean(0)).quantile(0.5)
    assert abs(late - simulate(Params(mu=mu, k=k, step=200)).median) < 0.6


# The state.


@given(settings_of)
def test_state_adds_up(params):
    state = simulate(params)
    assert sum(state.shares_E) == pytest.approx(1)
    assert sum(state.first_E) == pytest.approx(1)
    assert len(state.effective_S) == 16
    assert all(1 <= value <= E for value in state.effective_S)
    now = effective_experts(torch.tensor(state.shares_E, dtype=torch.float64)).item()
    assert now == pytest.approx(state.effective_S[params.seed], abs=0.05)


def test_the_grid_is_whole():
    assert set(grid()) == {(mu, start, k) for mu in MUS for start in STARTS for k in KS}
    for cell in grid().values():
        assert len(cell["effective_PS"]) == len(cell["shares_per_mille_PSE"]) == len(STEPS)
        assert all(len(seeds) == SEEDS for seeds in cell["shares_per_mille_PSE"])


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None)
@given(settings_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Collapse.draw(simulate(params)))
    assert root.get("role") == "img"
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


SIZE = ET.fromstring(Collapse.draw(simulate(Params()))).get("height")


def test_the_frame_names_experts_units_and_the_idle():
    shown = texts(Collapse.draw(simulate(Params(step=200))))
    assert {str(e) for e in range(E)} <= set(shown)
    assert any("(%)" in word for word in shown)
    assert any("exp of the load's entropy" in word for word in shown)
    idle = sum(share == 0 for share in simulate(Params(step=200)).shares_E)
    assert shown.count("no row") == idle > 0


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (Params(), "Nothing yet"),
        (Params(start="random"), "if not training"),
        (Params(step=200), "at the end"),
        (Params(mu=0.0, k=2, step=200), "Nothing collapses"),
    ],
)
def test_captions_ask_about_what_is_there(params, words):
    caption = collapse_view.question(simulate(params))
    assert words in caption
    assert caption.endswith("?")


def test_controls_and_landmarks_lead_to_frames_of_the_grid():
    race = Collapse(locked=False)
    for control in race.controls():
        if hasattr(control, "options"):
            values = [value for _, value in control.options]
        else:
            values = [control.low, control.high]
        for value in values:
            moved = control.write(Params(), value)
            assert control.read(moved) == value
            simulate(moved)
    for landmark in race.landmarks():
        simulate(landmark.go(replace(Params(), seed=3)))


def test_static_strip_and_reveals():
    race = Collapse()
    strip = race.static()
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert len(texts(strip.svg)) > 20
    for question in (0, 1):
        ET.fromstring(race.reveal(question).svg)


def test_a_frame_is_fast(within):
    grid()
    times = []
    for i in range(30):
        start = time.process_time()
        Collapse.draw(simulate(Params(step=STEPS[i % len(STEPS)], seed=i % SEEDS)))
        times.append(time.process_time() - start)
    within(statistics.median(times), 0.030)


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Collapse; Collapse(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_locked_frame_shows_no_later_step():
    race = Collapse(ask=False)
    lines = [line.get("points") for line in ET.fromstring(race.frame()).iter() if line.get("points")]
    now = simulate(race.params).place
    curves = [points.split() for points in lines if len(points.split()) in (now + 1, len(STEPS))]
    assert len(curves) >= 17
    assert {len(points) for points in curves} == {now + 1}
    race.unlock()
    assert race.frame() == Collapse.draw(simulate(race.params))

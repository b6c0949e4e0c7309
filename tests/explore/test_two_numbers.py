import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.explore.two_numbers import view
from moe_lessons.explore.two_numbers.explorable import EIGHT, GROK, TwoNumbers
from moe_lessons.explore.two_numbers.state import EXPERTS, MODELS, UNITS, Params, config_of, simulate

params = st.builds(
    Params,
    total=st.floats(1, 3000),
    active=st.floats(1, 1000),
    unit=st.sampled_from(UNITS),
    n_experts=st.sampled_from(EXPERTS),
    top_k=st.integers(1, 16),
    model=st.sampled_from(sorted(MODELS)),
)


# What it proves.


@pytest.mark.parametrize(
    ("landmark", "verdict"),
    [
        ("Mixtral", "follows"),
        ("DeepSeek-V3", "follows"),
        ("Grok-1, 86B", "does not follow"),
        ("Grok-1, 25 %", "does not follow"),
        ("GPT-4, 16 experts", "possible"),
        ("GPT-4, 8 experts", "impossible"),
    ],
)
def test_each_landmark_has_its_verdict(landmark, verdict):
    explorable = TwoNumbers(locked=False)
    (found,) = (one for one in explorable.landmarks() if one.label == landmark)
    assert simulate(found.go(explorable.params)).verdict == verdict


@given(params)
def test_impossible_is_what_lies_in_the_hatched_half(p):
    state = simulate(p)
    if state.says is None:
        assert p.top_k >= p.n_experts or p.active > p.total
        return
    highest = max(rest for _, rest in state.corners)
    assert (state.verdict == "impossible") == (highest < 0)
    # The line of the left panel says the same, up to rounding.
    if abs(p.active * p.n_experts - p.total * p.top_k) > p.unit * (p.n_experts + p.top_k):
        assert (p.active * p.n_experts < p.total * p.top_k) == (highest < 0)


def test_a_model_follows_only_from_numbers_near_its_own():
    assert simulate(Params()).verdict == "follows"
    assert simulate(Params(total=46.9)).verdict == "does not follow"
    assert simulate(Params(active=13.2)).verdict == "does not follow"
    assert simulate(Params(total=46.9, unit=1.0)).verdict == "follows"
    assert simulate(Params(n_experts=16)).verdict != "follows"


def test_the_answers_of_the_questions_hold():
    first, second = TwoNumbers.questions
    state = simulate(GROK)
    assert first.truth == 1
    assert state.verdict == "does not follow"
    assert round(state.says.rest[0]) == 9
    assert round(state.says.rest[1]) == 11
    assert f"{config_of('Grok-1').rest[1]:.1f}" == "6.4"
    assert second.truth == 2
    assert simulate(EIGHT).verdict == "impossible"
    assert 2 * simulate(EIGHT).says.expert[0] > 400


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None, max_examples=60)
@given(params)
def test_every_state_draws_valid_svg_of_one_size(p):
    root = ET.fromstring(TwoNumbers.draw(simulate(p)))
    assert root.get("role") == "img"
    assert root.get("width") == "720"


def test_the_frame_names_axes_and_regions():
    shown = texts(TwoNumbers.draw(simulate(Params())))
    assert {"total (B)", "active (B)", "the rest (B)", "one expert, all layers (B)"} <= set(shown)
    assert {"the rest would be below 0", "impossible", "config"} <= set(shown)
    assert "config" not in texts(TwoNumbers.draw(simulate(EIGHT)))


def test_captions_ask_and_differ():
    explorable = TwoNumbers(locked=False)
    asked = [view.question(simulate(one.go(explorable.params))) for one in explorable.landmarks()]
    assert all("?" in question for question in asked)
    assert len(set(asked)) >= 4


def test_the_point_is_dragged_where_the_controls_are(page_of):
    page = page_of(TwoNumbers(locked=False))
    page.set("Total (B)", 100.0)
    page.set("Active (B)", 30.0)
    page.set("E", EXPERTS.index(64))
    page.set("K", 6)
    page.set("Rounded to", UNITS.index(10.0))
    assert page.explorable.params == Params(100.0, 30.0, 10.0, 64, 6)
    assert '"Total (B)": 100.0' in page.shown["svg"].replace("&quot;", '"')


def test_it_waits_for_both_predictions(page_of):
    page = page_of(TwoNumbers())
    assert page.locked("Total (B)")
    page.commit(1)
    assert page.locked("Total (B)")
    page.commit(2)
    assert not page.locked("Total (B)")


def test_static_strip_and_reveals():
    explorable = TwoNumbers()
    strip = explorable.static()
    assert strip.svg == TwoNumbers().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    for question, word in ((0, "not this model"), (1, "Impossible")):
        assert word in explorable.reveal(question).alt


def test_a_frame_is_fast(within):
    times = []
    for i in range(30):
        start = time.process_time()
        TwoNumbers.draw(simulate(Params(40 + i, 10 + i / 4)))
        times.append(time.process_time() - start)
    within(statistics.median(times), 0.030)


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import TwoNumbers; TwoNumbers(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

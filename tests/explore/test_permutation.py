import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.dispatch import permutation_plan
from moe_lessons.explore.permutation import view as permutation_view
from moe_lessons.explore.permutation.explorable import Permutation
from moe_lessons.explore.permutation.state import ROUTINGS, STAGES, Params, simulate
from moe_lessons.explore.rows.plan import N_EXPERTS

params = st.builds(
    Params,
    stage=st.integers(0, len(STAGES) - 1),
    token=st.integers(0, 7),
    routing=st.sampled_from(sorted(ROUTINGS)),
)


# What it proves.


@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_plan_is_the_package_s(routing):
    state = simulate(Params(routing=routing))
    plan = permutation_plan(torch.tensor(state.ids), N_EXPERTS)
    assert list(state.row_ids) == plan.row_ids_S.tolist()
    assert list(state.inverse) == plan.inverse_S.tolist()
    assert list(state.ends) == plan.expert_ends_E.tolist()
    assert [s // state.top_k for s in state.row_ids] == plan.token_ids_S.tolist()


@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_routings_are_what_their_names_say(routing):
    sizes = torch.bincount(torch.tensor(ROUTINGS[routing]).flatten(), minlength=N_EXPERTS).tolist()
    assert all(len(set(row)) == 2 for row in ROUTINGS[routing])
    assert {"even": max(sizes) == 4, "mixed": sizes[1] == 0, "skewed": max(sizes) == 8}[routing]


def test_the_answers_of_the_questions_hold_on_the_page():
    first, second = Permutation.questions
    state = simulate(Permutation.start())
    assert state.slots[1] == 11
    assert first.options[first.truth] == f"Position {state.inverse[11]}"
    assert [s for s in state.row_ids if state.expert(s) == 0][:4] == [1, 2, 6, 11]
    assert state.row_ids[11] != 11
    assert state.row_ids.index(11) == state.inverse[11]
    assert second.options[second.truth] == "The place where the list says 11"


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None)
@given(params)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Permutation.draw(simulate(params)))
    assert root.get("role") == "img"
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


SIZE = ET.fromstring(Permutation.draw(simulate(Params()))).get("height")


def test_nothing_of_a_later_stage_is_given_away():
    """While the first question is open, no position is on the page, nor how the experts share the rows."""
    shown = texts(Permutation.draw(simulate(Params(stage=1))))
    assert shown.count("11") == 1
    assert not {"W0", "y5", "16"} & set(shown)
    # The slots are numbered; positions, which would repeat these numbers, are not there yet.
    assert shown.count("3") == 1


def test_each_stage_adds_to_the_one_before():
    counts = [len(texts(Permutation.draw(simulate(Params(stage=s))))) for s in range(len(STAGES))]
    assert counts == sorted(set(counts))


def test_the_last_frame_shows_every_column():
    shown = set(texts(Permutation.draw(simulate(Params(stage=6)))))
    assert {"x0", "y7", "W0", "W2", "W3", "16", "expert 1: idle"} <= shown
    assert "W1" not in shown


def test_titles_and_captions_differ_and_captions_ask():
    states = [simulate(Params(stage=s)) for s in range(len(STAGES))]
    assert len({permutation_view.title(s) for s in states}) == len(STAGES)
    assert all("?" in permutation_view.question(s) for s in states)
    no_idle = permutation_view.question(simulate(Params(3, 0, "even")))
    assert no_idle != permutation_view.question(states[3])


def test_controls_and_landmarks():
    permutation = Permutation(locked=False)
    stage, token, routing = permutation.controls()
    moved = routing.write(token.write(stage.write(permutation.params, 4), 2), "skewed")
    assert moved == Params(4, 2, "skewed")
    assert (stage.read(moved), token.read(moved), routing.read(moved)) == (4, 2, "skewed")
    reached = {m.go(Params()) for m in permutation.landmarks()}
    assert len(reached) == len(permutation.landmarks())
    for where in reached:
        ET.fromstring(Permutation.draw(simulate(where)))


def test_static_strip_shows_both_copies_at_every_stage():
    strip = Permutation().static()
    assert strip.svg == Permutation().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    shown = texts(strip.svg)
    # As a slot, as the number of a position, as a sorted row, as a result and back in slot order.
    assert shown.count("11") == 5
    assert "position 15" in strip.alt
    assert "position 3" in strip.alt


def test_a_frame_is_fast():
    times = []
    for i in range(30):
        start = time.process_time()
        Permutation.draw(simulate(Params(i % len(STAGES), i % 8)))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Permutation; Permutation(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

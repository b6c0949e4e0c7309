import itertools
import re
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.build import paths
from moe_lessons.course import store
from moe_lessons.exercises.moe_layer.questions import PREDICTIONS
from moe_lessons.experts import swiglu
from moe_lessons.explore.rows.plan import N_EXPERTS
from moe_lessons.explore.sorted_layer import view
from moe_lessons.explore.sorted_layer.explorable import SortedLayer
from moe_lessons.explore.sorted_layer.state import (
    BUGS,
    ROUTINGS,
    STAGES,
    WEIGHTS,
    Params,
    n_right,
    simulate,
    switch,
    verdict,
)

LAST = len(STAGES) - 1
SETS = [
    frozenset(bugs)
    for n in range(len(BUGS) + 1)
    for bugs in itertools.combinations(BUGS, n)
    if not {"no_inverse", "wrong_inverse"} <= set(bugs)
]
params = st.builds(
    Params,
    stage=st.integers(0, LAST),
    token=st.integers(0, 4),
    routing=st.sampled_from(sorted(ROUTINGS)),
    bugs=st.sampled_from(SETS),
)


def with_bugs(*bugs, routing="mixed", stage=LAST):
    return simulate(Params(stage=stage, routing=routing, bugs=frozenset(bugs)))


# What it proves: the same layer in PyTorch, with the same bugs.

D, D_EXPERT, T, K = 6, 5, 5, 2
WEIGHTS_TK = torch.tensor(WEIGHTS, dtype=torch.float64).view(T, K)


def drawn():
    g = torch.Generator().manual_seed(7)
    shapes = (T, D), (N_EXPERTS, 2 * D_EXPERT, D), (N_EXPERTS, D, D_EXPERT)
    return [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes]


def layer(ids_TK, bugs):
    """Sort, split, one product per expert, weights, back, sum: with the bugs where people make them."""
    x_TD, gate_up, down = drawn()
    ids_S = ids_TK.flatten()
    order_S = ids_S.argsort(stable=True)
    sizes_E = ids_S.bincount() if "no_minlength" in bugs else ids_S.bincount(minlength=N_EXPERTS)
    groups = x_TD[order_S // K].split(sizes_E.tolist())
    results_SD = torch.cat([swiglu(groups[e], gate_up[e], down[e]) for e in range(N_EXPERTS)])
    weights_S = WEIGHTS_TK.flatten()[order_S]
    if "weights_twice" in bugs:
        weights_S = weights_S[order_S]
    rows_SD = results_SD * weights_S[:, None]
    if "wrong_inverse" in bugs:
        rows_SD = rows_SD[order_S]
    elif "no_inverse" not in bugs:
        rows_SD = rows_SD[order_S.argsort()]
    return rows_SD.view(T, K, D).sum(dim=1), sizes_E


def result(ids_TK, slot):
    """What the expert of a slot says to its token."""
    x_TD, gate_up, down = drawn()
    e = int(ids_TK.flatten()[slot])
    return swiglu(x_TD[slot // K], gate_up[e], down[e])


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("bugs", SETS, ids=lambda bugs: "+".join(sorted(bugs)) or "none")
def test_what_the_picture_says_is_what_the_layer_does(routing, bugs):
    ids_TK, state = torch.tensor(ROUTINGS[routing]), with_bugs(*bugs, routing=routing)
    if state.crashed:
        with pytest.raises(IndexError):
            layer(ids_TK, bugs)
        assert {verdict(state, t).said for t in range(T)} == {"no output"}
        return
    right_TD, _ = layer(ids_TK, frozenset())
    got_TD, sizes_E = layer(ids_TK, bugs)
    assert list(state.sizes) == sizes_E.tolist()
    for t in range(T):
        claimed_D = sum(weight * result(ids_TK, slot) for weight, slot in state.terms(t))
        torch.testing.assert_close(got_TD[t], claimed_D)
        found = verdict(state, t)
        assert found.right == torch.allclose(got_TD[t], right_TD[t])
        whose = [o for o in range(T) if o != t and torch.allclose(got_TD[t], right_TD[o])]
        assert (found.said == f"token {whose[0]}'s output") if whose else ("output" not in found.said)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_words_of_a_verdict_name_the_tokens_whose_rows_were_added(routing):
    for bugs in SETS:
        state = with_bugs(*bugs, routing=routing)
        for t in range(T):
            said = verdict(state, t).said
            sources = sorted({slot // K for _, slot in state.terms(t)})
            if said.startswith("rows of"):
                assert [int(c) for c in said if c.isdigit()] == sources
                assert sources != [t]
            elif said == "wrong weights":
                assert sources == [t]


def test_no_two_weights_are_equal():
    """A wrong weight of the same size would be no mistake, and the picture would call it one."""
    assert len(set(WEIGHTS)) == len(WEIGHTS)
    assert torch.allclose(WEIGHTS_TK.sum(dim=1), torch.ones(T, dtype=torch.float64))


def test_the_routings_are_what_their_names_say():
    orders = {name: simulate(Params(routing=name)).row_ids for name in ROUTINGS}
    own_inverse = {name for name, order in orders.items() if [order[s] for s in order] == list(range(T * K))}
    assert own_inverse == {"pairs"}
    assert {name: simulate(Params(routing=name)).sizes.count(0) for name in ROUTINGS} == {
        "mixed": 1,
        "pairs": 0,
        "last idle": 1,
    }
    assert simulate(Params()).sizes[1] == 0
    assert simulate(Params(routing="last idle")).sizes[-1] == 0
    assert all(len(set(row)) == K for ids in ROUTINGS.values() for row in ids)


def prediction(id):
    return next(p for p in PREDICTIONS if p.id == f"02.{id}")


@pytest.mark.parametrize("bug", BUGS)
def test_every_switch_has_its_prediction(bug):
    assert len(prediction(bug).options) == 3


def test_the_lesson_lets_each_prediction_open_its_own_switch():
    lesson = (paths.LESSONS / "02_moe_layer.py").read_text(encoding="utf-8")
    asked = re.findall(r'predict\("02\.(\w+)", unlocks=sorted_rows\.switch\("(\w+)"\)\)', lesson)
    assert asked == [(bug, bug) for bug in BUGS]


def test_the_truth_of_each_prediction_holds_in_the_picture():
    for routing in ROUTINGS:
        state = with_bugs("no_inverse", routing=routing)
        assert sum("rows of" in verdict(state, t).said for t in range(T)) > T / 2
        state = with_bugs("weights_twice", routing=routing)
        totals = [sum(weight for weight, _ in state.terms(t)) for t in range(T)]
        assert sum(abs(total - 1) > 0.01 for total in totals) > T / 2
        assert all({s // K for _, s in state.terms(t)} == {t} for t in range(T))
    assert "most tokens get rows of other" in prediction("no_inverse").options[prediction("no_inverse").truth]
    assert "do not add up" in prediction("weights_twice").options[prediction("weights_twice").truth]
    right = {routing: n_right(with_bugs("wrong_inverse", routing=routing)) for routing in ROUTINGS}
    assert right == {"mixed": 1, "pairs": 5, "last idle": 1}
    assert prediction("wrong_inverse").options[prediction("wrong_inverse").truth] == "For some routings"
    assert n_right(with_bugs("no_minlength")) == T
    assert with_bugs("no_minlength", routing="last idle").crashed
    assert "Nothing" in prediction("no_minlength").options[prediction("no_minlength").truth]


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


SIZE = ET.fromstring(SortedLayer.draw(simulate(Params()))).get("height")


@settings(deadline=None)
@given(params)
def test_every_state_draws_valid_svg_of_one_size(params):
    markup = SortedLayer.draw(simulate(params))
    root = ET.fromstring(markup)
    assert root.get("role") == "img"
    # A frame that changes its height would move the switches under the pointer.
    assert (root.get("width"), root.get("height")) == ("720", SIZE)
    assert markup == SortedLayer.draw(simulate(params))


@settings(deadline=None)
@given(params)
def test_lines_of_text_beside_the_outputs_fit(params):
    root = ET.fromstring(SortedLayer.draw(simulate(params)))
    for said in (e for e in root.iter() if e.tag.endswith("}text") and float(e.get("x")) > 500):
        size = float(said.get("font-size", 12))
        assert float(said.get("x")) + 0.56 * size * len(said.text) <= 720 or said.get("text-anchor")


@pytest.mark.parametrize("bugs", SETS, ids=lambda bugs: "+".join(sorted(bugs)) or "none")
def test_every_token_s_verdict_is_on_the_page_and_in_words(bugs):
    for routing in ROUTINGS:
        state = with_bugs(*bugs, routing=routing)
        markup = SortedLayer.draw(state)
        shown = texts(markup)
        for t in range(T):
            found = verdict(state, t)
            assert f"{'✓' if found.right else '✗'} {found.said}" in shown
            if not state.crashed:
                assert f"y{t}: {found.said}, {view.sum_of(state, t)}" in view.in_words(state)
        assert ("IndexError" in shown) == state.crashed


def test_what_is_wrong_is_marked_by_more_than_a_colour():
    twice = texts(SortedLayer.draw(with_bugs("weights_twice")))
    wrong = sum(
        a != b
        for a, b in zip(with_bugs("weights_twice").weight_slots, simulate(Params()).row_ids, strict=True)
    )
    assert sum(said.startswith("✗ .") for said in twice) == wrong > 0
    assert not any("✗" in said for said in texts(SortedLayer.draw(simulate(Params()))))
    # A row in the wrong place carries its own number, beside the number of the place.
    shown = texts(SortedLayer.draw(with_bugs("no_inverse")))
    back = [said for said in shown if said.startswith("r") and said[1:].isdigit()][T * K :]
    assert sorted(back) != back


@pytest.mark.parametrize("routing", ROUTINGS)
def test_without_a_bug_nothing_answers_a_prediction(routing):
    for stage in range(LAST + 1):
        shown = " ".join(texts(SortedLayer.draw(with_bugs(routing=routing, stage=stage))))
        assert "✗" not in shown
        assert "Error" not in shown


def test_each_stage_adds_to_the_one_before():
    counts = [len(texts(SortedLayer.draw(with_bugs(stage=stage)))) for stage in range(LAST + 1)]
    assert counts == sorted(set(counts))


def test_titles_differ_and_captions_ask():
    states = [with_bugs(stage=stage) for stage in range(LAST + 1)] + [with_bugs(bug) for bug in BUGS]
    assert len({view.title(state) for state in states}) == len(states)
    for bugs, routing in itertools.product(SETS, ROUTINGS):
        assert view.question(with_bugs(*bugs, routing=routing)).endswith("?")
    assert all(view.question(state).endswith("?") for state in states)


def test_a_crash_stops_the_rows_where_the_group_is_missing():
    before = texts(SortedLayer.draw(with_bugs("no_minlength", routing="last idle", stage=3)))
    assert "sizes 3, 4, 3" in before
    assert "IndexError" not in before
    after = texts(SortedLayer.draw(with_bugs("no_minlength", routing="last idle")))
    assert {"IndexError", "Expert 3 asks for group 3.", "Groups: 0 to 2."} <= set(after)
    assert not {"W0", "r0", "y0"} & set(after)


def test_static_strip_says_what_each_bug_does_to_each_token():
    strip = SortedLayer().static()
    assert strip.svg == SortedLayer().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    shown = texts(strip.svg)
    for bug in BUGS:
        state = with_bugs(bug)
        for t in range(T):
            found = verdict(state, t)
            assert f"{'✓' if found.right else '✗'} {found.said}" in shown
            assert f"y{t} {found.said}" in strip.alt


# The switches.


@pytest.fixture
def page(page_of):
    return page_of(SortedLayer())


@pytest.fixture
def shown(page):
    return page.explorable


def locked(page):
    return [page.locked(BUGS[bug]) for bug in BUGS]


def test_each_switch_waits_for_its_own_prediction(page, shown):
    assert all(locked(page))
    page.set(BUGS["no_inverse"], True)
    assert shown.params.bugs == frozenset()
    shown.switch("no_inverse").unlock()
    assert locked(page) == [False, True, True, True]
    assert shown.locked
    page.set(BUGS["no_inverse"], False)
    page.set(BUGS["no_inverse"], True)
    assert shown.params.bugs == {"no_inverse"}
    assert "1 of 5" in page.shown["svg"]
    for bug in BUGS:
        shown.switch(bug).unlock()
    assert not shown.locked
    assert not any(locked(page))


def test_the_two_ways_of_not_undoing_the_sort_exclude_each_other(page, shown):
    shown.unlock()
    page.set(BUGS["no_inverse"], True)
    page.set(BUGS["weights_twice"], True)
    page.set(BUGS["wrong_inverse"], True)
    assert shown.params.bugs == {"wrong_inverse", "weights_twice"}
    assert not page.shown["values"][BUGS["no_inverse"]]


def test_what_shows_the_layer_as_it_should_be_is_free(shown):
    for control in [*shown.controls()[:3], *shown.landmarks()]:
        assert not shown.waits(control)
    stage, token, routing = shown.controls()[:3]
    moved = routing.write(token.write(stage.write(Params(), 4), 1), "pairs")
    assert moved == Params(4, 1, "pairs")
    assert (stage.read(moved), token.read(moved), routing.read(moved)) == (4, 1, "pairs")
    for landmark in shown.landmarks():
        assert landmark.go(Params()).bugs == frozenset()


def test_while_a_switch_waits_the_page_without_a_kernel_does_not_answer(monkeypatch):
    explorable = SortedLayer()
    title = explorable.static().alt.split(".")[0]
    explorable.switch("no_inverse").unlock()
    assert title not in explorable._repr_mimebundle_()["image/svg+xml"]
    explorable.unlock()
    assert title in explorable._repr_mimebundle_()["image/svg+xml"]
    monkeypatch.setattr(store, "_apart", True)  # a solutions notebook, which nobody commits in
    assert title in SortedLayer()._repr_mimebundle_()["image/svg+xml"]
    explorable.close()


def test_open_from_the_start():
    explorable = SortedLayer(locked=False)
    assert not any(explorable.waits(control) for control in explorable.controls())


def test_a_switch_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="bug is 'typo': choose one of no_inverse"):
        SortedLayer().switch("typo")


def test_a_switch_turns_off_what_it_turned_on():
    for bug in BUGS:
        assert switch(switch(Params(), bug, True), bug, False) == Params()


def test_a_frame_is_fast(within):
    times = []
    for i in range(30):
        start = time.process_time()
        SortedLayer.draw(simulate(Params(token=i % 5, bugs=SETS[i % len(SETS)])))
        times.append(time.process_time() - start)
    within(statistics.median(times), 0.030)


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import SortedLayer; SortedLayer(locked=False).frame(); "
        "print({'torch', 'matplotlib', 'ipywidgets', 'anywidget', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

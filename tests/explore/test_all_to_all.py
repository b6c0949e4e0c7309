import statistics
import time
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.explore.all_to_all import panels, view
from moe_lessons.explore.all_to_all.explorable import AllToAll
from moe_lessons.explore.all_to_all.state import (
    COPIES,
    EXPERTS,
    NODES,
    ORDERS,
    RANKS,
    ROW_BYTES,
    TOKENS,
    TOP_K,
    Params,
    chance,
    drawn_experts,
    placed,
    popularity,
    simulate,
    uneven,
)
from moe_lessons.parallel import dispatch_bytes
from moe_lessons.parallel.placement import Placement, rank_load

params_of = st.builds(
    Params,
    zipf=st.sampled_from((0.0, 0.3, 0.8, 0.9)),
    n_ranks=st.sampled_from(RANKS),
    numbered=st.booleans(),
    packed=st.booleans(),
    copies=st.sampled_from(COPIES),
    tokens=st.sampled_from(TOKENS),
    stale=st.booleans(),
    once=st.booleans(),
)
few = settings(deadline=None, max_examples=25)


# What it proves.


def test_the_answers_of_the_questions_hold():
    packed, copied = simulate(Params(packed=True)), simulate(Params(copies=1, tokens=32))
    assert packed.expected == pytest.approx(3.2, abs=0.1)
    assert copied.expected < 1.01
    assert copied.drawn > 1.3
    assert [question.truth for question in AllToAll.questions] == [2, 2]


def test_no_packing_gets_below_the_hottest_expert():
    for n_ranks in RANKS:
        state = simulate(Params(packed=True, n_ranks=n_ranks))
        assert state.expected >= state.hottest - 1e-9
    assert uneven(Params(numbered=True)) > 2.5 * uneven(Params())


def test_a_plan_is_for_the_load_that_it_was_made_for():
    fresh, stale = simulate(Params(copies=1)), simulate(Params(copies=1, stale=True))
    assert fresh.expected < 1.01
    assert stale.expected > 1.5
    assert stale.expected < simulate(Params(stale=True)).expected


def test_chance_evens_out_with_the_tokens():
    drawn = [simulate(Params(copies=1, tokens=n)).drawn for n in TOKENS]
    assert drawn == sorted(drawn, reverse=True)


# The state.


@few
@given(params_of)
def test_state_adds_up(params):
    state = simulate(params)
    assert len(state.drawn_G) == len(state.expected_G) == params.n_ranks
    assert statistics.fmean(state.drawn_G) == pytest.approx(1)
    assert statistics.fmean(state.expected_G) == pytest.approx(1)
    sent = sum(map(sum, state.bytes_NN))
    rows = params.tokens * TOP_K
    assert sent <= rows * ROW_BYTES
    if params.once:
        assert sent == pytest.approx(state.nodes_per_token * params.tokens * ROW_BYTES)
    else:
        assert sent == rows * ROW_BYTES
    assert 1 <= state.nodes_per_token <= NODES
    assert state.expected == pytest.approx(uneven(params))


@few
@given(st.sampled_from((0.0, 0.5, 0.9)), st.booleans(), st.booleans())
def test_every_expert_is_drawn_as_often_as_its_share_says(zipf, numbered, moved):
    shares_E = popularity(zipf, numbered, moved)
    assert max(shares_E) <= 1 / TOP_K + 1e-9
    ids_TK = torch.tensor(drawn_experts(shares_E, TOKENS[-1]))
    assert all(len(set(row)) == TOP_K for row in ids_TK.tolist())
    shares_E = torch.tensor(shares_E, dtype=torch.float64)
    found_E = torch.bincount(ids_TK.flatten(), minlength=EXPERTS) / ids_TK.numel()
    spread_E = (shares_E / ids_TK.numel()).sqrt()
    assert bool(((found_E - shares_E).abs() < 6 * spread_E + 1e-4).all())


def test_without_copies_the_traffic_is_what_the_package_counts():
    state = simulate(Params(tokens=512))
    ids_TK = torch.tensor(drawn_experts(popularity(0.8, numbered=False), 512))
    node_E = torch.arange(EXPERTS) // (EXPERTS // NODES)
    node_T = torch.arange(512) * NODES // 512
    assert state.bytes_NN == tuple(map(tuple, dispatch_bytes(ids_TK, node_T, node_E, ROW_BYTES).tolist()))


def test_rows_go_to_ranks_as_the_plan_says():
    params = Params(copies=2, n_ranks=8)
    found = placed(params.zipf, 8, False, False, 2)
    ids_TK = torch.tensor(drawn_experts(popularity(params.zipf, False), params.tokens))
    load_E = torch.bincount(ids_TK.flatten(), minlength=EXPERTS)
    planned_G = rank_load(Placement(*map(torch.tensor, found)), load_E) * 8 / ids_TK.numel()
    assert simulate(params).drawn_G == pytest.approx(planned_G.tolist(), abs=0.02)


@few
@given(params_of)
def test_lists_give_what_tensors_give(params):
    """The draw, the copies in turn and the count, once more as they would be written with PyTorch."""
    p = params
    found = placed(p.zipf, p.n_ranks, p.numbered, p.packed, p.copies)
    expert_S, rank_S, copies_E = map(torch.tensor, found)
    shares_E = torch.tensor(popularity(p.zipf, p.numbered, p.stale), dtype=torch.float64)
    turn_T = torch.arange(p.tokens) % ORDERS
    order_TE = torch.tensor(chance(7).order_OE)[turn_T]
    points_TK = torch.tensor(chance(7).start_T, dtype=torch.float64)[: p.tokens, None] + torch.arange(TOP_K)
    ends_TE = (TOP_K * shares_E)[order_TE].cumsum(dim=1)
    ids_TK = order_TE.gather(1, torch.searchsorted(ends_TE, points_TK).clamp(max=EXPERTS - 1))
    # A point may fall on an end but for a rounding.
    assert (torch.tensor(drawn_experts(tuple(shares_E.tolist()), p.tokens)) != ids_TK).sum() <= 1
    ids_TK = torch.tensor(drawn_experts(popularity(p.zipf, p.numbered, p.stale), p.tokens))
    first_E = torch.cumsum(copies_E, 0) - copies_E
    turn_TK = torch.arange(p.tokens)[:, None] % copies_E[ids_TK]
    rank_TK = rank_S[expert_S.argsort(stable=True)[first_E[ids_TK] + turn_TK]]
    state = simulate(p)
    drawn_G = torch.bincount(rank_TK.flatten(), minlength=p.n_ranks) * (p.n_ranks / rank_TK.numel())
    assert state.drawn_G == pytest.approx(drawn_G.tolist())
    met_TN = torch.zeros(p.tokens, NODES).scatter_(1, rank_TK // (p.n_ranks // NODES), 1.0)
    assert state.nodes_per_token == pytest.approx(float(met_TN.sum(dim=1).mean()))
    expected_G = rank_load(Placement(expert_S, rank_S, copies_E), shares_E) * p.n_ranks
    assert state.expected_G == pytest.approx(expected_G.tolist())


# The drawing.


SIZE = ET.fromstring(AllToAll.draw(simulate(Params()))).get("width")


@few
@given(params_of)
def test_every_state_draws_valid_svg(params):
    state = simulate(params)
    root = ET.fromstring(AllToAll.draw(state))
    assert root.get("role") == "img"
    assert root.get("width") == SIZE
    bars = [e for e in root.iter() if e.tag.endswith("}rect") and e.get("stroke") is None]
    assert len([e for e in bars if e.get("fill") not in (None, "#ffffff")]) >= params.n_ranks


def test_what_leaves_the_scale_has_a_mark():
    marks = [
        sum(e.tag.endswith("}polygon") for e in ET.fromstring(AllToAll.draw(simulate(p))).iter())
        for p in (Params(numbered=True), Params())
    ]
    assert simulate(Params(numbered=True)).expected > panels.HIGHEST
    assert marks == [1, 0]


@few
@given(params_of)
def test_captions_ask(params):
    assert view.question(simulate(params)).endswith("?")


def test_static_strip_reveals_and_landmarks():
    shown = AllToAll()
    strip = shown.static()
    assert strip.svg == AllToAll().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    for question in (0, 1):
        ET.fromstring(shown.reveal(question).svg)
    for landmark in shown.landmarks():
        simulate(landmark.go(Params(0.3, 8)))


def test_controls_write_what_they_read():
    for control in AllToAll().controls():
        for value in getattr(control, "options", ((None, True), (None, False))):
            if hasattr(control, "low"):
                continue
            assert control.read(control.write(Params(), value[1])) == value[1]


def test_a_frame_is_fast():
    times = []
    for i in range(20):
        params = Params(zipf=0.1 * (i % 10), copies=i % 4, tokens=TOKENS[-1])
        start = time.process_time()
        AllToAll.draw(simulate(params))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030

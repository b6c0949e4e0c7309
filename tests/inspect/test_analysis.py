"""The numbers of a report, on traces whose answer is known."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.inspect import InspectError, LayerTrace, Trace, findings, load_trace, save_trace
from moe_lessons.inspect.analysis import prunable, score_function, tokens_for_coverage, weight_shares
from moe_lessons.inspect.report import render, strip_data, summary


def trace_of(ids, n_experts, tokens=None, domains=None, untrained=None, weights=None, logits=None):
    ids = torch.as_tensor(ids)
    n = len(ids)
    tokens = torch.arange(n) if tokens is None else torch.as_tensor(tokens)
    domains = torch.zeros(n, dtype=torch.int64) if domains is None else torch.as_tensor(domains)
    weights = torch.full(ids.shape, 1 / ids.shape[1]) if weights is None else weights

    def layer(choice):
        return LayerTrace("gate", n_experts, torch.as_tensor(choice), weights, logits)

    return Trace(
        "toy",
        "mixtral",
        tokens,
        torch.arange(n),
        domains,
        [f"t{int(i)}" for i in tokens],
        [f"file{i}" for i in range(int(domains.max()) + 1)],
        (layer(ids),),
        () if untrained is None else (layer(untrained),),
    )


def test_a_router_that_sorts_by_token_and_one_that_does_not():
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 8, (2000,), generator=rng)
    blind = torch.randint(0, 4, (2000, 1), generator=rng)
    found = findings(trace_of((tokens % 4)[:, None], 4, tokens, untrained=blind))["layers"][0]
    assert found["information"]["token"]["share"] == pytest.approx(1)
    assert found["information"]["position"]["share"] < 0.02
    copy = found["untrained"]["information"]["token"]
    assert copy["share"] < 0.02
    assert abs(copy["share"] - copy["chance_share"]) < 0.01


def test_a_router_that_sorts_by_file():
    domains = torch.arange(600) // 300
    found = findings(trace_of(domains[:, None], 2, torch.arange(600) % 7, domains))["layers"][0]
    assert found["information"]["domain"]["share"] == pytest.approx(1)
    assert found["information"]["token"]["share"] < 0.05


def test_a_router_that_sorts_by_the_token_before():
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 4, (2000,), generator=rng)
    found = findings(trace_of(tokens.roll(1)[:, None], 4, tokens))["layers"][0]
    assert found["information"]["previous"]["share"] > 0.99
    assert found["information"]["token"]["share"] < 0.02


def test_where_a_piece_begins_nothing_came_before():
    trace = dataclasses.replace(
        trace_of([[0], [1], [1], [1]], 2, tokens=[5, 6, 5, 6]), positions_T=torch.tensor([0, 1, 0, 1])
    )
    found = findings(trace)["layers"][0]
    assert found["neighbours"]["share"] == pytest.approx(0.5)  # of two pairs; the pieces are not joined
    assert found["neighbours"]["chance_share"] == pytest.approx(0.25**2 + 0.75**2, abs=1e-4)
    alone = dataclasses.replace(trace, positions_T=torch.zeros(4).long())
    assert findings(alone)["layers"][0]["neighbours"] is None
    assert not any("token before it" in line for line in summary(findings(alone)))


def test_neighbours_go_by_the_heaviest_expert_and_are_told():
    weights = torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]])
    found = findings(trace_of([[0, 1], [1, 0], [2, 1]], 3, weights=weights, untrained=[[0, 1]] * 3))
    assert found["layers"][0]["neighbours"] == {"share": 1.0, "chance_share": 1.0}
    assert any("token before it" in line and "untrained copy" in line for line in summary(found))
    trace = trace_of([[0, 1], [1, 0], [2, 1]], 3, weights=weights, untrained=[[0, 1]] * 3)
    assert "<td>100 % <small>(100, 0)</small></td>" in render(trace, found)


def test_load_dead_experts_and_the_least_weight():
    ids = [[0]] * 97 + [[1]] * 2 + [[2]]
    found = findings(trace_of(ids, 4))["layers"][0]
    assert found["load"] == [97, 2, 1, 0]
    assert found["dead"] == [3]
    assert found["prunable"] == [3, 2]
    assert found["prunable_weight"] == pytest.approx(0.01)
    assert found["max_violation"] == pytest.approx(0.97 * 4 - 1)


def test_what_an_expert_reads():
    found = findings(trace_of([[0], [0], [1], [0]], 2, tokens=[5, 5, 5, 9]))["layers"][0]
    assert found["reads"][0] == [{"token": "t5", "read": 2, "of": 3}, {"token": "t9", "read": 1, "of": 1}]


def test_experts_that_go_together_are_found_and_busy_ones_are_not():
    rng = torch.Generator().manual_seed(0)
    pairs = torch.tensor([[0, 1], [2, 3]])[torch.randint(0, 2, (400,), generator=rng)]
    assert findings(trace_of(pairs, 4))["layers"][0]["pairs"][0]["experts"] in ([0, 1], [2, 3])
    # Expert 0 is in every choice, its partner is drawn evenly: nothing beyond the loads.
    alone = torch.stack([torch.zeros(400).long(), torch.randint(1, 4, (400,), generator=rng)], dim=1)
    for pair in findings(trace_of(alone, 4))["layers"][0]["pairs"]:
        assert pair["together"] - pair["expected"] < 4 * pair["expected"] ** 0.5


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_the_gate_is_recognised(score, renormalise, k):
    logits = torch.randn(64, 8, generator=torch.Generator().manual_seed(k)) * 2
    scores = logits.softmax(-1) if score == "softmax" else logits.sigmoid()
    weights, ids = scores.topk(k)
    if renormalise:
        weights = 2.5 * weights / weights.sum(-1, keepdim=True)
    found = score_function(LayerTrace("", 8, ids, weights, logits))
    assert found == ("unknown" if renormalise and k == 1 else score)


def test_a_gate_of_another_kind_is_not_given_a_name():
    logits = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    weights, ids = torch.nn.functional.softplus(logits).square().topk(3)
    assert score_function(LayerTrace("", 8, ids, weights, logits)) == "unknown"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda x: sum(x) > 0))
def test_what_could_be_pruned_never_holds_more_than_it_may(values):
    shares = torch.tensor(values, dtype=torch.float64)
    shares /= shares.sum()
    chosen = prunable(shares)
    assert shares[chosen].sum() <= 0.01 + 1e-9
    rest = [i for i in range(len(values)) if i not in chosen]
    assert shares[chosen].sum() + shares[rest].min() > 0.01 - 1e-9


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_any_shape_makes_a_page(n_tokens, data):
    n_experts = data.draw(st.integers(1, 9))
    k = data.draw(st.integers(1, n_experts))
    rng = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    logits = torch.randn(n_tokens, n_experts, generator=rng)
    weights, ids = logits.softmax(-1).topk(k)
    trace = trace_of(
        ids, n_experts, tokens=torch.randint(0, 5, (n_tokens,), generator=rng), weights=weights, logits=logits
    )
    found = findings(trace)
    assert render(trace, found).count("<svg") == 5
    assert len(summary(found)) == (5 if n_tokens > 1 else 4)
    assert len(strip_data(trace)["tokens"]) == n_tokens
    assert weight_shares(trace.layers[0]).sum() == pytest.approx(1)


def test_what_tokens_and_names_hold_is_escaped():
    trace = trace_of([[0], [1]], 2)
    evil = "</script><img src=x onerror=alert(1)>"
    trace = dataclasses.replace(trace, tokens=[evil, "b"], model=evil, domains=[evil])
    page = render(trace, findings(trace))
    assert "<img" not in page
    assert page.count("</script>") == 1
    assert "&lt;img src=x" in page


def test_many_experts_are_listed_by_their_load_and_files_share_the_strip():
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 300, (3000, 1), generator=rng)
    trace = trace_of(ids, 300, torch.arange(3000) % 50, torch.arange(3000) // 1500)
    found = findings(trace)
    page = render(trace, found)
    assert "the 48 busiest of 300 experts" in page
    strip = strip_data(trace)
    assert strip["shown"] == 800
    assert strip["starts"] == [0, 400]
    assert strip["files"][399:401] == ["file0", "file1"]


def test_the_batch_that_touches_all():
    assert tokens_for_coverage(2, 2) == 1
    assert tokens_for_coverage(256, 8) == 197  # 256 (248/256)^B < 1/2 from B = ln 512 / ln(256/248) on


def test_a_trace_comes_back_as_it_was(tmp_path):
    trace = trace_of([[0, 1], [2, 0]], 3, untrained=[[1, 2], [0, 1]], logits=torch.randn(2, 3))
    save_trace(trace, tmp_path)
    back = load_trace(tmp_path)
    assert (back.tokens, back.domains, back.model) == (trace.tokens, trace.domains, trace.model)
    assert torch.equal(back.layers[0].topk_ids_TK, trace.layers[0].topk_ids_TK)
    assert torch.equal(back.layers[0].logits_TE, trace.layers[0].logits_TE)
    assert torch.equal(back.untrained[0].topk_ids_TK, trace.untrained[0].topk_ids_TK)
    (tmp_path / "trace.safetensors").write_bytes(b"torn")
    with pytest.raises(InspectError, match="damaged"):
        load_trace(tmp_path)
    with pytest.raises(InspectError, match="holds no trace"):
        load_trace(tmp_path / "nowhere")

import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.accounting import count, describe
from moe_lessons.explore.calculator import view as calculator_view
from moe_lessons.explore.calculator.explorable import Calculator
from moe_lessons.explore.calculator.state import (
    DTYPES,
    MODELS,
    Params,
    build,
    choose,
    is_published,
    parts,
    simulate,
    with_experts,
    with_top_k,
)

settings_of = st.builds(
    lambda model, e, k, f, shared, dtype, context, latent: replace(
        with_top_k(with_experts(choose(Params(), model), e), k),
        d_expert=64 * f,
        n_shared=shared,
        dtype=dtype,
        context=context,
        latent_cache=latent,
    ),
    st.sampled_from(MODELS),
    st.integers(1, 512),
    st.integers(1, 32),
    st.integers(1, 512),
    st.integers(0, 8),
    st.sampled_from(DTYPES),
    st.integers(1, 2**21),
    st.booleans(),
)


# What it proves.


def test_e_buys_memory_k_buys_flops_context_buys_cache():
    base = simulate(Params())
    more_experts, more_per_token = simulate(Params(n_experts=16)), simulate(Params(top_k=4))
    longer = simulate(Params(context=8 * 4096))
    assert more_experts.weight_bytes > 1.9 * base.weight_bytes
    assert more_experts.flops.total < 1.001 * base.flops.total
    assert more_per_token.weight_bytes == base.weight_bytes
    assert more_per_token.flops.total > 1.8 * base.flops.total
    assert more_experts.cache_bytes == more_per_token.cache_bytes == base.cache_bytes
    assert longer.cache_bytes == 8 * base.cache_bytes
    assert longer.weight_bytes == base.weight_bytes


def test_the_answers_of_the_questions_hold():
    published, latent = simulate(Params()).outweighs_at, simulate(Params(latent_cache=True)).outweighs_at
    assert 150_000 < published < 250_000
    assert 650_000 < latent < 750_000
    assert Calculator.questions[0].truth == 2
    assert Calculator.questions[1].truth == 1


@given(settings_of)
def test_the_cache_outweighs_the_active_weights_exactly_there(params):
    at = simulate(params).outweighs_at
    if at is not None and at > 1:
        before, after = simulate(replace(params, context=at - 1)), simulate(replace(params, context=at))
        assert before.cache_bytes <= before.active_bytes
        assert after.cache_bytes > after.active_bytes


# The state.


@pytest.mark.parametrize("model", MODELS)
def test_a_published_model_is_counted_as_published(model):
    params = choose(Params(), model)
    assert is_published(params)
    assert count(build(params)) == count(describe(model))
    assert simulate(params).active_bytes == 2 * count(describe(model)).active


@pytest.mark.parametrize("model", MODELS)
def test_dragging_e_away_and_back_changes_nothing(model):
    params = choose(Params(), model)
    away = with_experts(params, params.n_experts + 1)
    assert count(build(away)).total > count(build(params)).total
    assert simulate(with_experts(away, params.n_experts)) == simulate(params)


@given(settings_of)
def test_state_adds_up(params):
    state = simulate(params)
    sums = [n for _, n in parts(state)]
    assert sum(sums) == state.parameters.total
    assert sum(sums[:-1]) == state.parameters.active
    assert 0 < state.active_bytes <= state.weight_bytes
    assert 1 <= params.top_k <= params.n_experts


@given(st.integers(1, 512), st.integers(64, 32768), st.integers(0, 8))
def test_dragged_sizes_are_counted_in_closed_form(n_experts, d_expert, n_shared):
    params = replace(with_experts(Params(), n_experts), d_expert=d_expert, n_shared=n_shared)
    ours = count(build(params)).components
    assert ours["routed_experts"] == 32 * n_experts * 3 * 4096 * d_expert
    assert ours["shared_experts"] == 32 * n_shared * 3 * 4096 * d_expert
    assert ours["router"] == 32 * n_experts * 4096


# The drawing.


def texts(markup):
    return [e.text for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@settings(deadline=None)
@given(settings_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Calculator.draw(simulate(params)))
    assert root.get("role") == "img"
    assert root.get("width") == "720"
    # A frame that changes its height would move the controls under the pointer.
    assert float(root.get("height")) == SIZE


SIZE = float(ET.fromstring(Calculator.draw(simulate(Params()))).get("height"))


def test_the_frame_names_units_and_sums():
    shown = texts(Calculator.draw(simulate(Params())))
    assert {"bytes (GB)", "FLOPs for one new token (billions)", "= active", "= total"} <= set(shown)
    assert {"46.7 B", "12.9 B", "93.4 GB", "25.8 GB", "0.54 GB"} <= set(shown)


@pytest.mark.parametrize(
    "params", [Params(), Params(context=2**18), Params(latent_cache=True), Params(top_k=4)]
)
def test_captions_ask(params):
    assert calculator_view.question(simulate(params)).rstrip().endswith(("?", "time.", "it."))


def test_static_strip_and_reveals():
    calculator = Calculator()
    strip = calculator.static()
    assert strip.svg == Calculator().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert "196,533" in strip.alt
    for question in (0, 1):
        ET.fromstring(calculator.reveal(question).svg)


def test_every_control_reads_what_it_writes():
    for control in Calculator().controls():
        value = control.read(Params())
        assert control.read(control.write(Params(), value)) == value


def test_landmarks_lead_to_frames():
    for landmark in Calculator().landmarks():
        ET.fromstring(Calculator.draw(simulate(landmark.go(Params()))))


def test_a_frame_is_fast():
    times = []
    for i in range(30):
        start = time.process_time()
        Calculator.draw(simulate(with_experts(Params(), 30 + i)))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Calculator; Calculator(locked=False).frame(); "
        "print({'torch', 'numpy', 'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_locked_frame_does_not_tell_where_the_cache_overtakes():
    calculator = Calculator(ask=False)
    told = f"{simulate(calculator.params).outweighs_at:,}"
    assert told not in calculator.frame()
    assert not any(told in landmark.label + landmark.hint for landmark in calculator.landmarks())
    calculator.unlock()
    assert told in calculator.frame()


# A picture that does not say the opposite; test_true_scales.py reads its numbers back.


def test_what_exceeds_the_scale_is_marked():
    drawn = calculator_view.draw(simulate(Params(n_experts=512)))
    assert "off the scale" in drawn
    assert "off the scale" not in calculator_view.draw(simulate(Params()))

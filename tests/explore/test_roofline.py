import json
import math
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from marks import ROUNDING, Readings, assert_marked, assert_one_scale, marks, of, said, some

from moe_lessons.accounting import count, decode_read_bytes, describe, kv_cache_bytes
from moe_lessons.explore.roofline import panels
from moe_lessons.explore.roofline import view as roofline_view
from moe_lessons.explore.roofline.explorable import Roofline
from moe_lessons.explore.roofline.state import (
    DTYPES,
    HARDWARE,
    MODELS,
    MOST_BATCH,
    MOST_CONTEXT,
    Params,
    cache_outweighs_at,
    computes_from,
    covered_at,
    simulate,
    touched,
)
from moe_lessons.kernels.limits import CEILINGS

params_of = st.builds(
    Params,
    st.sampled_from(MODELS),
    st.integers(1, MOST_BATCH),
    st.integers(1, MOST_CONTEXT),
    st.sampled_from(DTYPES),
    st.sampled_from(tuple(HARDWARE)),
    st.integers(0, 6),
)


# What it proves.


def test_the_answers_of_the_questions_hold():
    v3 = Params("DeepSeek-V3", context=0)
    assert covered_at(v3) == 73
    assert touched("DeepSeek-V3", 73) >= 0.9 * 256 > touched("DeepSeek-V3", 72)
    here, twice = (simulate(replace(v3, batch=b)).bytes_per_token for b in (64, 128))
    assert 0.52 < twice / here < 0.62
    assert Roofline.questions[0].truth == Roofline.questions[1].truth == 1


def test_a_draft_costs_a_sparse_model_what_it_does_not_cost_a_dense_one():
    alone, company = (simulate(Params("DeepSeek-V3", b, 0, gamma=3)) for b in (1, 256))
    assert alone.speedup < 1 < 2.5 < alone.dense_speedup
    assert company.speedup > 2.5 > 1 > company.dense_speedup


def test_decoding_reads_and_a_prompt_computes():
    mixtral = simulate(Params(context=0))
    assert mixtral.intensity < 1.1 < 500 < mixtral.prompt_intensity
    assert not mixtral.computes
    assert mixtral.prompt_intensity > mixtral.ridge


# The state.


def test_the_hardware_is_what_was_measured():
    for name, ceiling in CEILINGS.items():
        assert HARDWARE[name] == (ceiling.flops_per_s, ceiling.bytes_per_s)


@given(params_of)
def test_it_counts_what_accounting_counts(params):
    state, model = simulate(params), describe(params.model)
    weights = decode_read_bytes(model, params.batch * (params.gamma + 1), 0, params.dtype)
    assert state.shared_bytes + state.expert_bytes == pytest.approx(weights)
    assert state.cache_bytes == kv_cache_bytes(model, params.context, params.batch)
    assert state.flops == 2.0 * count(model).active * state.checked
    assert state.shared_bytes > 0


@given(params_of)
def test_state_adds_up(params):
    state = simulate(params)
    flops_s, bytes_s = HARDWARE[params.hardware]
    assert state.top_k - 1e-9 <= state.touched <= state.n_experts
    assert state.speed <= min(flops_s, state.intensity * bytes_s) * (1 + 1e-9)
    assert state.step_s == max(state.reading_s, state.computing_s)
    assert state.computes == (state.intensity > state.ridge)
    assert state.speedup <= sum(0.7**i for i in range(params.gamma + 1)) + 1e-9
    if params.gamma == 0:
        assert state.speedup == state.dense_speedup == 1


@given(st.sampled_from(MODELS), st.sampled_from(DTYPES), st.sampled_from(tuple(HARDWARE)))
def test_places_of_the_landmarks(model, dtype, hardware):
    p = Params(model, 64, 1024, dtype, hardware)
    at = computes_from(p)
    if at is not None:
        assert simulate(replace(p, batch=at, context=0)).computes
        assert at == 1 or not simulate(replace(p, batch=at // 2, context=0)).computes
    context = cache_outweighs_at(p)
    here = simulate(replace(p, context=context))
    assert context == MOST_CONTEXT or here.cache_bytes > here.shared_bytes + here.expert_bytes


# The drawing.


SIZE = ET.fromstring(Roofline.draw(simulate(Params()))).get("height")


@settings(deadline=None)
@given(params_of)
def test_every_state_draws_valid_svg_of_one_size(params):
    root = ET.fromstring(Roofline.draw(simulate(params)))
    assert root.get("role") == "img"
    assert (root.get("width"), root.get("height")) == ("720", SIZE)


def drawn(rng):
    return Params(
        rng.choice(MODELS),
        round(2 ** rng.uniform(0, 13)),
        round(2 ** rng.uniform(0, 17)),
        rng.choice(DTYPES),
        rng.choice(tuple(HARDWARE)),
        rng.randrange(7),
    )


def test_the_dots_lie_where_their_numbers_say():
    across, up, curve, share = Readings(), Readings(), Readings(), Readings()
    for params in some(drawn):
        state = simulate(params)
        found = marks(Roofline.draw(state))
        (step,) = [m for m in of(found, "circle", width=14.0) if m.x < 400]
        (batch,) = [m for m in of(found, "circle", width=14.0) if m.x > 400]
        across.add("roof", math.log(state.intensity), step.x)
        up.add(params.hardware, math.log(state.speed), -step.y)
        curve.add("batch", math.log(params.batch), batch.x)
        share.add("share", state.touched / state.n_experts, -batch.y)
    for readings in (across, up, curve, share):
        assert_one_scale(readings)


def test_the_bar_is_as_long_as_what_is_read():
    lengths = Readings()
    for params in some(drawn):
        state = simulate(params)
        found = marks(Roofline.draw(state))
        pieces = [m for m in of(found, "rect", height=22.0) if m.fill != "#ffffff"]
        scale = panels.bytes_scale(params.model, 392, 692)
        beyond = state.read_bytes / 1e9 > scale.high
        lengths.beyond(state.read_bytes, any(m.left > 692 for m in of(found, "polygon"))) if beyond else None
        if not beyond:
            length = max(m.right for m in pieces) - 392
            lengths.add(params.model, state.read_bytes, length)
            for piece, count_ in zip(
                pieces, (state.shared_bytes, state.expert_bytes, state.cache_bytes), strict=True
            ):
                assert abs(piece.width - 300 * count_ / 1e9 / scale.high) < ROUNDING
    assert_one_scale(lengths)
    assert_marked(lengths)


def test_words_do_not_lie_on_each_other():
    for params in some(drawn):
        words = [m for m in marks(Roofline.draw(simulate(params))) if m.kind == "text"]
        right = [m for m in words if m.left > 390]
        assert not [(a.said, b.said) for i, a in enumerate(right) for b in right[i + 1 :] if a.meets(b)]
        assert max(m.right for m in words) < 722


@given(params_of)
def test_captions_ask(params):
    assert roofline_view.question(simulate(params)).endswith("?")


def test_the_batch_can_be_dragged():
    root = ET.fromstring(Roofline.draw(simulate(Params(batch=64))))
    (mark,) = [json.loads(e.get("data-handle")) for e in root.iter() if e.get("data-handle")]
    assert mark["at"] == {"Batch": 6.0}
    assert mark["x"]["values"] == [0, 13]
    assert "Batch" in {control.label for control in Roofline().controls()}


def test_static_strip_reveals_and_landmarks():
    shown = Roofline()
    strip = shown.static()
    assert strip.svg == Roofline().static().svg
    assert float(ET.fromstring(strip.svg).get("width")) <= 720
    assert "73 users" in shown.reveal(0).alt
    assert "0.56 times" in shown.reveal(1).alt
    for landmark in shown.landmarks():
        for model in MODELS:
            ET.fromstring(shown.draw(simulate(landmark.go(Params(model, 3, 64)))))


def test_every_control_reads_what_it_writes():
    for control in Roofline().controls():
        for params in some(drawn, 12):
            value = control.read(params)
            assert control.read(control.write(params, value)) == value


def test_the_locked_frame_does_not_tell():
    frame = Roofline(ask=False).frame()
    assert not [words for words in said(marks(frame)) if "73" in words.split()]


def test_it_unlocks_after_both_predictions():
    shown = Roofline()
    assert shown.commit(0).startswith("✘")
    assert shown.locked
    assert shown.commit(1).startswith("✔")
    assert not shown.locked


def test_a_frame_is_fast():
    simulate(Params())
    times = []
    for i in range(30):
        start = time.process_time()
        Roofline.draw(simulate(Params(MODELS[i % 4], 1 + 7 * i, 100 * i, gamma=i % 5)))
        times.append(time.process_time() - start)
    assert statistics.median(times) < 0.030


def test_the_callback_path_needs_no_torch():
    code = (
        "import sys; from moe_lessons.explore import Roofline; Roofline(locked=False).frame(); "
        "print({'torch', 'numpy', 'matplotlib', 'ipywidgets', 'anywidget'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

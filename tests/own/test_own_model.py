"""A model of one's own parts is the package's model, whoever wrote them; it runs where Mixtral runs."""

import dataclasses
import importlib
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from moe_lessons.config import ModelConfig, preset
from moe_lessons.course.parts import Part
from moe_lessons.exercises import registry
from moe_lessons.interop.exporting import export_model
from moe_lessons.model import generate
from moe_lessons.model.transformer import IGNORED
from moe_lessons.own import (
    OwnTransformer,
    Parts,
    evaluate_own,
    export_own,
    parts_card,
    polish_head,
    train_own,
    write_own,
)
from moe_lessons.own.card import summary
from moe_lessons.own.parts import ROLES
from moe_lessons.own.training import windows
from moe_lessons.training.accumulation import accumulate_gradients
from moe_lessons.training.objective import evaluate, make_optimizer
from moe_lessons.training.precision import LossScaler
from moe_lessons.training.schedule import learning_rate_at

ALL = tuple(Parts.ids().values())
SIZES = ModelConfig(
    n_layers=2, d_model=24, n_heads=4, n_kv_heads=2, d_expert=20, n_experts=5, top_k=2, context_length=12
)
TINY = preset("smoke").override(**dataclasses.asdict(SIZES), steps=8, batch_size=3, device="cpu")
# As lesson 10 trains it.
LESSON = preset("smoke").override(d_model=64, d_expert=64, steps=50, batch_size=8, device="cpu")


def text(n_tokens, seed=0):
    """Tokens that can be learned: each is near the one before."""
    steps_N = torch.randint(-3, 4, (n_tokens,), generator=torch.Generator().manual_seed(seed))
    return (100 + steps_N.cumsum(0)) % 256


def build(parts, config=TINY):
    return OwnTransformer(parts, config.model, generator=torch.Generator().manual_seed(config.seed))


def package_losses(config, train_N):
    """The same training by the package's model, losses and trainer, step by step."""
    model = build(Parts.published(), config).frame
    optimizer, losses = make_optimizer(model, config), []
    for step in range(config.steps):
        tokens_BL = windows(train_N, config, step)
        targets_BL = tokens_BL.roll(-1, dims=1)
        targets_BL[:, -1] = IGNORED
        scaler = LossScaler("fp32", torch.device("cpu"))
        found = accumulate_gradients(model, tokens_BL, targets_BL, config, scaler)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(config, step)
        optimizer.step()
        optimizer.zero_grad()
        router = config.alpha * found.router.load_balancing + config.z_loss_weight * found.router.z
        losses.append((found.loss_M[0] + router).item())
    return losses, model


def test_with_the_published_answers_it_is_the_packages_model_for_50_steps(answered):
    train_N = text(20_000)
    model = build(answered(*ALL), LESSON)
    ours = [record.loss for record in train_own(model, LESSON, train_N, log_every=1)]
    theirs, package = package_losses(LESSON, train_N)
    assert len(ours) == len(theirs) == 50
    assert ours[-1] < ours[0] - 1  # it learns
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-5
    held_out_M = text(64 * 32 + 1, seed=1)
    assert evaluate_own(model, held_out_M) == pytest.approx(evaluate(package, held_out_M), abs=1e-4)
    assert all(part.stopped == "" for part in vars(model.parts).values())


@pytest.mark.parametrize("change", [{"alpha": 0.011}, {"z_loss_weight": 0.002}, {"learning_rate": 0.0015}])
def test_a_small_difference_is_seen(change):
    """The negative control of the test above."""
    train_N = text(5_000)
    ours = train_own(build(Parts.published()), TINY.override(**change), train_N, log_every=1)
    theirs, _ = package_losses(TINY, train_N)
    assert max(abs(a.loss - b) for a, b in zip(ours, theirs, strict=True)) > 1e-5


def planted(id):
    lesson = registry.exercise(id).lesson
    return importlib.import_module(f"planted.{registry.module(lesson)}").RIGHT[id]


RIGHT = [(name, i) for name, id in Parts.ids().items() for i in range(len(planted(id)))]


def run(model, train_N, folder):
    """All that the lesson does with a model."""
    losses = [record.loss for record in train_own(model, TINY, train_N, log_every=4)]
    polish_head(model, TINY, train_N, steps=2, peak=0.3)
    bits = evaluate_own(model, text(200, seed=1))
    wrote = write_own(model, b"MoE", 10, temperature=0)
    export_own(model, folder)
    return [*losses, bits], wrote


@pytest.fixture(scope="module")
def published_run(tmp_path_factory):
    return run(build(Parts.published()), text(5_000), tmp_path_factory.mktemp("published") / "mine")


@pytest.mark.parametrize(("name", "index"), RIGHT, ids=lambda value: str(value))
def test_every_other_right_answer_makes_the_same_model(name, index, published_run, tmp_path):
    exercise = registry.exercise(Parts.ids()[name])
    part = Part(exercise, planted(exercise.id)[index])
    model = build(dataclasses.replace(Parts.published(), **{name: part}))
    numbers, wrote = run(model, text(5_000), tmp_path / "mine")
    assert numbers == pytest.approx(published_run[0], abs=1e-4)
    assert wrote == published_run[1]
    assert part.stopped == ""


@pytest.mark.parametrize("name", Parts.ids())
def test_a_part_that_raises_is_named_and_the_packages_goes_on(
    name, answered, published_run, tmp_path, capsys
):
    entry = registry.exercise(Parts.ids()[name]).entry
    parts = answered(**{name: f"def {entry}(*args):\n    raise IndexError('index 99 is too large')"})
    numbers, wrote = run(build(parts), text(5_000), tmp_path / "mine")
    assert (numbers, wrote) == (pytest.approx(published_run[0], abs=1e-4), published_run[1])
    said = [line for line in capsys.readouterr().out.splitlines() if "stopped with" in line]
    assert said == [
        f"{entry}: yours ({Parts.ids()[name]}) stopped with IndexError: index 99 is too large; "
        "the package's goes on"
    ]
    assert "stopped with IndexError: index 99 is too large" in summary(parts)
    assert summary(parts).startswith("0 of 12 parts are yours")


def test_every_part_is_called_with_its_exercises_arguments(tmp_path):
    """By position, as many as the exercise has, each of the kind and with the axes that it names."""
    calls = {}

    def watched(name, reference):
        def part(*args):
            calls.setdefault(name, []).append(args)
            return reference(*args)

        return part

    published = vars(Parts.published())
    run(build(Parts(**{n: watched(n, r) for n, r in published.items()})), text(5_000), tmp_path / "mine")
    assert set(calls) == set(Parts.ids())
    for name, made in calls.items():
        exercise = registry.exercise(Parts.ids()[name])
        drawn = exercise.draw(np.random.default_rng(0))[0].args
        for args in made:
            assert len(args) == len(drawn)
            for (argument, example), value in zip(drawn.items(), args, strict=True):
                if isinstance(example, np.ndarray):
                    assert isinstance(value, torch.Tensor), (name, argument)
                    assert value.dim() == example.ndim, (name, argument)
                    assert value.is_floating_point() == (example.dtype.kind == "f"), (name, argument)
                else:
                    assert isinstance(value, type(example)), (name, argument)


def test_the_parts_are_those_of_the_table():
    assert [part.name for part in dataclasses.fields(Parts)] == list(ROLES)


def test_three_ways_through_the_experts_give_the_same_logits():
    model = build(Parts.published(), LESSON)
    tokens_BL = text(64).view(2, 32)
    with torch.no_grad():
        theirs = model.frame(tokens_BL).logits_BLV
        for purpose in ("train", "evaluate", "write"):
            torch.testing.assert_close(model(tokens_BL, purpose).logits_BLV, theirs, rtol=1e-4, atol=1e-4)
    assert model(tokens_BL, "evaluate").router_logits_NTE is None
    assert model(tokens_BL, "write").router_logits_NTE.shape == (2, 64, 8)


def test_it_writes_what_the_packages_model_writes_with_its_weights():
    model = build(Parts.published())
    train_own(model, TINY, text(5_000))
    prompt = torch.tensor(list(b"abc"))
    theirs = generate(model.frame, prompt, 8, temperature=0)
    assert write_own(model, b"abc", 8, temperature=0) == bytes(theirs.tolist())
    assert write_own(model, b"abc", 30, seed=1) == write_own(model, b"abc", 30, seed=1)
    assert len(write_own(model, b"abc", 30)) == 33  # beyond its window of 12


def test_the_heads_last_steps_change_the_head_alone_and_help():
    model = build(Parts.published(), LESSON)
    train_N, held_out_M = text(20_000), text(1_000, seed=1)
    train_own(model, LESSON, train_N)
    before = {name: value.clone() for name, value in model.frame.state_dict().items()}
    bits = evaluate_own(model, held_out_M)
    polish_head(model, LESSON, train_N, steps=10, peak=0.3)
    changed = [name for name, value in model.frame.state_dict().items() if not value.equal(before[name])]
    assert changed == ["head.weight"]
    assert evaluate_own(model, held_out_M) < bits


@pytest.mark.parametrize("n_tokens", [2, 11, 12, 13, 14, 25, 40])
def test_bits_count_every_held_out_byte_once(n_tokens):
    """The last window is short: compare with the same windows one by one."""
    model, tokens_M = build(Parts.published()), text(n_tokens)
    nats = 0.0
    for start in range(0, n_tokens - 1, 12):
        window = tokens_M[start : start + 13]
        targets_L = torch.full((len(window) - 1,), IGNORED)
        targets_L[:] = window[1:]
        nats += model.frame(window[None, :-1], targets_L[None]).loss.item() * len(targets_L)
    assert evaluate_own(model, tokens_M) == pytest.approx(nats / (n_tokens - 1) / math.log(2), abs=1e-5)


def test_training_ends_when_its_time_is_up():
    records = train_own(build(Parts.published()), TINY, text(5_000), seconds=0, log_every=4)
    assert [record.step for record in records] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gate": "sigmoid"}, "gate is 'sigmoid'"),
        ({"gate": "sigmoid", "expert_bias": True}, "gate is 'sigmoid'"),
        ({"routed_scale": 2.0}, "routed_scale 2.0"),
        ({"n_shared_experts": 1}, "leave out shared experts"),
        ({"n_dense_layers": 1}, "leave out .* dense layers"),
    ],
)
def test_what_the_parts_cannot_make_is_refused(change, message):
    with pytest.raises(ValueError, match=message) as error:
        OwnTransformer(Parts.published(), dataclasses.replace(SIZES, **change))
    assert "\n" not in str(error.value)


def test_trained_by_ones_own_parts_it_runs_where_mixtral_runs(answered, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = build(answered(*ALL), LESSON)
    train_own(model, LESSON, text(5_000))
    folder = export_own(model, tmp_path / "mine")
    mixtral = transformers.MixtralForCausalLM.from_pretrained(folder).eval()
    tokens_BL = text(64).view(2, 32)
    with torch.no_grad():
        ours, theirs = model(tokens_BL, "train").logits_BLV, mixtral(tokens_BL).logits
    assert (ours - theirs).abs().max() < 1e-4
    assert "12 of 12 parts are yours" in (folder / "README.md").read_text()
    package = export_model(model.frame, tmp_path / "package")
    mine, theirs = (load_file(place / "model.safetensors") for place in (folder, package))
    assert mine.keys() == theirs.keys()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def test_the_card_counts_and_says_what_is_left(answered, capsys):
    some = [id for id in ALL if id not in ("05.balancing_loss", "01.router_logits", "10.mixtral_keys")]
    parts = answered(*some)
    capsys.readouterr()
    text, page = repr(parts_card(parts)), parts_card(parts)._repr_html_()
    assert text.startswith("9 of 12 parts are yours\n")
    assert text.endswith("To make it 12, pass 01.router_logits, 05.balancing_loss and 10.mixtral_keys.")
    assert "<strong>9 of 12 parts are yours</strong>" in page
    assert 'value="9" max="12"' in page
    assert page.count("✔ yours") == text.count("✔ yours") == 9
    assert capsys.readouterr().out == ""
    assert repr(parts_card(answered(*ALL))).endswith("Every one of them. This model is yours.")


def test_an_error_on_the_card_is_text_and_not_markup(answered):
    parts = answered(topk_gates="def topk_gates(*args):\n    raise ValueError('<b>bold</b> & more')")
    parts.topk_gates(torch.zeros(2, 4), 2, True)
    page = parts_card(parts)._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in page
    assert "<b>" not in page

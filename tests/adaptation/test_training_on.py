"""Freezing, fine-tuning and distilling: what may move moves, what may not does not."""

import re

import pytest
import torch

from moe_lessons.adaptation import (
    PLANS,
    distil,
    distillation_loss,
    fine_tune,
    frozen,
    part_of,
    routing_drift,
    student,
    trainable,
)
from moe_lessons.inspect.learning import SMALL, three_kinds
from moe_lessons.model import ModelConfig, MoETransformer

CONFIG = SMALL.override(steps=2, batch_size=2, learning_rate=1e-2, warmup_steps=0, weight_decay=0.1)

# Tensors as real models call them, and the part they belong to.
NAMES = {
    "model.layers.0.block_sparse_moe.gate.weight": "router",  # Mixtral
    "model.layers.0.block_sparse_moe.experts.3.w1.weight": "experts",
    "model.layers.0.mlp.gate.weight": "router",  # Qwen, OLMoE, DeepSeek
    "model.layers.0.mlp.gate.e_score_correction_bias": "router",
    "model.layers.0.mlp.gate_proj.weight": "rest",  # a dense layer's
    "model.layers.0.mlp.experts.7.gate_proj.weight": "experts",
    "model.layers.0.mlp.experts.gate_up_proj": "experts",
    "model.layers.0.mlp.shared_experts.gate_proj.weight": "rest",
    "model.layers.0.mlp.shared_expert.down_proj.weight": "rest",
    "model.layers.0.mlp.shared_expert_gate.weight": "rest",
    "model.layers.0.self_attn.q_proj.weight": "rest",
    "model.embed_tokens.weight": "rest",
    "blocks.0.moe.router.weight": "router",  # ours
    "blocks.0.moe.experts.down_proj": "experts",
    "blocks.0.moe.shared_experts.down_proj": "rest",
}


@pytest.fixture(scope="module")
def corpus():
    return three_kinds().corpus


@pytest.fixture(scope="module")
def model():
    return MoETransformer(SMALL.model, generator=torch.Generator().manual_seed(0)).eval()


@pytest.mark.parametrize("name", NAMES)
def test_parts_by_name(name):
    assert part_of(name) == NAMES[name]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_trains_its_parts_and_no_other(plan, model, corpus):
    tuned = fine_tune(model, corpus, CONFIG, plan=plan)
    before = dict(model.named_parameters())
    for name, parameter in tuned.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == (part_of(name) in PLANS[plan]), name  # weight decay included
    assert all(parameter.requires_grad for parameter in tuned.parameters())


def test_only_experts_moves_no_route_of_the_first_layer(model, corpus):
    tokens_BL = corpus.validation_M[:512].view(-1, 64)
    experts, rest = (
        routing_drift(model, fine_tune(model, corpus, CONFIG, plan=plan), tokens_BL)
        for plan in ("only experts", "router frozen")
    )
    assert experts[0] == 0  # nothing before its router has moved
    assert experts[1] > 0
    assert rest[0] > 0


def test_fine_tuning_leaves_the_model_and_the_random_numbers_alone(model, corpus):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one = fine_tune(model, corpus, CONFIG)
    assert torch.equal(torch.rand(1), wanted)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    two = fine_tune(model, corpus, CONFIG)
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


def test_requires_grad_comes_back_after_an_error(model):
    def stopped():
        with frozen(model, "only router"):
            assert not model.head.weight.requires_grad
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert model.head.weight.requires_grad


@pytest.mark.parametrize(
    ("names", "plan", "said"),
    [
        (["head.weight"], "all but one", "plan is 'all but one': choose one of all"),
        (["head.weight", "moe.experts.down_proj"], "router frozen", "belongs to the router"),
        (["mlp.gate_proj.weight", "mlp.experts.0.gate_proj.weight"], "only router", "belongs to the router"),
    ],
)
def test_a_plan_that_finds_nothing_is_refused(names, plan, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        trainable(names, plan)


def test_students():
    teacher = MoETransformer(ModelConfig(n_layers=2, d_model=16, n_heads=2, d_expert=8, n_shared_experts=1))
    heir, stranger = student(teacher), student(teacher, 5, inherit=False)
    assert heir.config.d_expert == 3 * 8  # K and the shared one
    assert stranger.config.d_expert == 5
    given, theirs = dict(heir.named_parameters()), dict(teacher.named_parameters())
    for name, parameter in given.items():
        if ".moe." not in name:
            assert torch.equal(parameter, theirs[name]), name
    assert not torch.equal(stranger.head.weight, teacher.head.weight)


def test_the_loss_of_distillation_by_hand():
    logits, teacher = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[2.0, 0.0]]])
    targets = torch.tensor([[1]])
    hard = -logits.log_softmax(-1)[0, 0, 1]
    soft = -(teacher.softmax(-1) * logits.log_softmax(-1)).sum()
    for share in (0.0, 0.3, 1.0):
        found = distillation_loss(logits, targets, teacher, share)
        assert found.item() == pytest.approx(((1 - share) * hard + share * soft).item(), abs=1e-6)
    warm = -((teacher / 2).softmax(-1) * (logits / 2).log_softmax(-1)).sum() * 4
    assert distillation_loss(logits, targets, teacher, 1.0, 2.0).item() == pytest.approx(
        warm.item(), abs=1e-6
    )
    with pytest.raises(ValueError, match="choose 0 to 1"):
        distillation_loss(logits, targets, teacher, 1.5)
    with pytest.raises(ValueError, match="temperature is 0"):
        distillation_loss(logits, targets, teacher, 0.5, 0.0)


def test_a_student_learns_from_its_teacher_alone(corpus):
    """With soft=1 the text's own successors play no part: the student comes closer to the teacher."""
    teacher = MoETransformer(SMALL.model, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        teacher.head.weight.mul_(5)
    pupil = student(teacher, 16, inherit=False, generator=torch.Generator().manual_seed(1))
    tokens_BL = corpus.train_N[: 16 * 64].view(-1, 64).long()

    def distance():
        with torch.no_grad():
            theirs, mine = (m(tokens_BL).logits_BLV.log_softmax(-1) for m in (teacher, pupil))
            return (theirs.exp() * (theirs - mine)).sum(-1).mean().item()

    before = distance()
    config = SMALL.override(steps=8, batch_size=4, warmup_steps=1)
    assert distil(pupil, teacher, corpus, config, soft=1.0) is pupil
    assert distance() < before

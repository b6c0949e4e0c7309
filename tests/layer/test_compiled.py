"""`torch.compile` on a CPU: into how many graphs it cuts layer and model, and that they compute the same."""

import pytest
import torch

from moe_lessons import MoELayer
from moe_lessons.config import preset
from moe_lessons.layer.spec import BIASED_GATES
from moe_lessons.model import MoETransformer
from moe_lessons.routing import GATES

SMOKE = preset("smoke").model
X_BLD = torch.randn(2, 8, 12, generator=torch.Generator().manual_seed(0))


def n_graphs(module, *arguments, **named):
    """Count as `torch.compile` without options cuts."""
    torch._dynamo.reset()
    return torch._dynamo.explain(module)(*arguments, **named).graph_count


@pytest.mark.parametrize("gate", GATES)
def test_a_layer_is_one_graph(gate):
    options = {"gate": gate, "expert_bias": gate in BIASED_GATES, "n_shared_experts": 1}
    layer = MoELayer(12, 20, 4, 2, **options)
    assert n_graphs(layer, X_BLD) == 1
    with torch.no_grad():
        assert n_graphs(layer, X_BLD[:1, :1]) == 1


def test_a_layer_with_one_expert_is_one_graph():
    assert n_graphs(MoELayer(12, 20, 1, 1), X_BLD) == 1


def test_a_mask_is_read_on_the_way():
    """A control: what depends on values does break the graph."""
    mask_BL = torch.ones(2, 8, dtype=torch.bool)
    assert n_graphs(MoELayer(12, 20, 4, 2), X_BLD, mask_BL) > 1


def test_the_model_is_one_graph_and_learns_the_same():
    tokens_BL = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))
    model = MoETransformer(SMOKE, generator=torch.Generator().manual_seed(0))
    assert n_graphs(model, tokens_BL, tokens_BL) == 1
    found = []
    for forward in (model, torch.compile(model, backend="aot_eager")):
        model.zero_grad()
        output = forward(tokens_BL, tokens_BL)
        output.loss.backward()
        found.append([output.loss.detach(), *(p.grad for p in model.parameters())])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-6)

"""What the warm parent imports for answers: what they will need, and no more."""

import subprocess
import sys

import pytest

from moe_lessons.grade import late, warm

GIVEN = [
    "torch.autograd.grad(y, x, upstream)",
    "torch.autograd.grad((w[..., None] * f(x, 2)).sum(1), (x, y), upstream, retain_graph=True)",
    "grad(\n    y,\n    x,\n    upstream,\n)",
    "torch.autograd.grad(y, x, grad_outputs=upstream)",
    "y.backward(upstream)",
    "y.backward(\n    gradient=upstream)",
]
NOT_GIVEN = [
    "torch.autograd.grad(loss, x)",
    "torch.autograd.grad(loss, (x, y, z))",
    "torch.autograd.grad(f(x, y, z), x)",
    "torch.autograd.grad(loss, x, create_graph=True)",
    "torch.autograd.grad(loss, x,)",
    "loss.backward()",
    "loss.backward(\n)",
    "def backward(ctx, d_out_TD): ...",
    "x.grad, y.grad, z.grad",
    "grad(",
    "grad(a, b,",
    "grad(]",
]


@pytest.mark.parametrize("code", GIVEN)
def test_a_gradient_that_is_handed_over(code):
    assert list(late.needed(code)) == ["grad"]


@pytest.mark.parametrize("code", NOT_GIVEN)
def test_no_gradient_is_handed_over(code):
    assert list(late.needed(code)) == []


def test_each_name_is_one_of_the_warm_parents():
    assert set(late.needed("import scipy; y.backward(g)")) == set(warm.LATE)


def test_of_a_long_text_a_little_is_looked_at():
    seen = []

    class Text(str):
        def __getitem__(self, place):
            seen.append(place)
            return super().__getitem__(place)

    assert not late.gradient_given(Text("grad(" * 26_000))
    assert 0 < len(seen) <= 50_000


CODE = """
import sys
import torch

x = torch.ones(3, requires_grad=True)
torch.autograd.grad((x * x).sum(), x)
(x * x).sum().backward()
told = [NAME in sys.modules]
torch.autograd.grad(x * x, x, torch.ones(3))
print(told + [NAME in sys.modules])
"""


def test_pytorch_needs_it_for_a_gradient_that_is_handed_over_alone():
    (name,) = warm.LATE["grad"]
    done = subprocess.run(
        [sys.executable, "-c", f"NAME = {name!r}\n{CODE}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[False, True]"

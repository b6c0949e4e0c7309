"""Where the kernels run, and what is said where they do not."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from kernel_cases import draw_case

from moe_lessons.dispatch import moe_grouped
from moe_lessons.kernels import moe_triton, triton_supported
from moe_lessons.kernels.mode import interpreting
from moe_lessons.kernels.support import _gpu

CASE = draw_case(5, 8, 4, 3, 2, dtype=torch.float32)


def on_gpu(monkeypatch, name, capability):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    return SimpleNamespace(device=torch.device("cuda"), dtype=torch.bfloat16)


def test_this_process_does_not_interpret():
    assert not interpreting()


def test_fp64_is_refused():
    supported, reason = triton_supported(torch.ones(1, 1, dtype=torch.float64))
    assert not supported
    assert reason == "Triton kernels compute in fp32, bf16 and fp16, not in float64"


def test_a_cpu_without_the_interpreter():
    supported, reason = triton_supported(CASE[0])
    assert not supported
    assert "TRITON_INTERPRET=1" in reason


def test_another_device():
    assert triton_supported(torch.ones(1, 1, device="meta")) == (
        False,
        "Triton kernels run on CUDA GPUs, not on meta",
    )


def test_without_triton(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert triton_supported(CASE[0]) == (False, "Triton is not installed: it exists for Linux only")


def test_a_colab_t4(monkeypatch):
    supported, reason = triton_supported(on_gpu(monkeypatch, "Tesla T4", (7, 5)))
    assert not supported
    assert reason == "Triton needs compute capability 8.0, and Tesla T4 has 7.5"


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (12, 0)])
def test_gpus_since_ampere(monkeypatch, capability):
    assert triton_supported(on_gpu(monkeypatch, "a GPU", capability)) == (True, "")


def test_a_gpu_while_the_interpreter_is_on(monkeypatch):
    tensor = on_gpu(monkeypatch, "a GPU", (9, 0))
    monkeypatch.setattr("moe_lessons.kernels.support.interpreting", lambda: True)
    assert "interpreter mode" in triton_supported(tensor)[1]


def in_fresh_process(code, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", "from moe_lessons.kernels.mode import *\n" + code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


NO_GPU = "torch.cuda.is_available = lambda: False\n"
AN_H100 = "torch.cuda.is_available = lambda: True\ntorch.cuda.get_device_capability = lambda: (9, 0)\n"
A_T4 = AN_H100.replace("(9, 0)", "(7, 5)")


@pytest.mark.parametrize(
    ("before", "variables", "answer"),
    [
        (NO_GPU, {}, "cpu True"),
        (A_T4, {}, "cpu True"),
        (AN_H100, {}, "cuda False"),
        (AN_H100, {"TRITON_INTERPRET": "1"}, "cpu True"),
        (NO_GPU + "import triton\n", {"TRITON_INTERPRET": "1"}, "cpu True"),
        (AN_H100 + "import triton\n", {}, "cuda False"),
    ],
)
def test_kernels_are_interpreted_where_no_gpu_can_compile_them(before, variables, answer):
    code = before + "device = kernel_device()\nimport triton\nprint(device, interpreting())"
    assert in_fresh_process(code, **variables) == answer


def test_triton_imported_too_early():
    answer = in_fresh_process(NO_GPU + "import triton\nkernel_device()")
    assert answer.startswith("RuntimeError: Triton was imported before")


def test_torch_compile_does_not_stop_at_the_question_about_the_gpu(monkeypatch):
    on_gpu(monkeypatch, "a GPU", (9, 0))

    def question(tensor):
        return tensor + _gpu(tensor.device)[1][0]

    assert torch.compile(question, fullgraph=True, backend="eager")(torch.zeros(1)) == 9


def test_reasons_are_one_line(monkeypatch):
    tensors = [CASE[0], CASE[0].double(), on_gpu(monkeypatch, "Tesla T4", (7, 5))]
    for tensor in tensors:
        reason = triton_supported(tensor)[1]
        assert reason
        assert "\n" not in reason


def test_the_fallback_says_why_and_is_grouped():
    with pytest.warns(
        UserWarning, match="moe_triton is moe_grouped here: Triton kernels run on a GPU"
    ) as told:
        output_TD = moe_triton(*CASE)
    assert len(told) == 1
    assert torch.equal(output_TD, moe_grouped(*CASE))


@pytest.mark.parametrize(
    ("position", "name"), [(0, "hidden_TD"), (2, "topk_weights_TK"), (3, "gate_up_proj")]
)
def test_shapes_that_do_not_fit(position, name):
    wrong = [tensor[:, :-1] if i == position else tensor for i, tensor in enumerate(CASE)]
    with pytest.raises(ValueError, match=f"{name} has shape"):
        moe_triton(*wrong)


def test_an_id_that_no_expert_has():
    hidden_TD, ids_TK, *rest = CASE
    with pytest.raises(ValueError, match="topk_ids_TK runs from 1 to 3 with 3 experts"):
        moe_triton(hidden_TD, torch.tensor([[1, 3]]).expand_as(ids_TK), *rest)

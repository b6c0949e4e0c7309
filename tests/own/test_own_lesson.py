"""The last section of lesson 10 as a learner meets it who is half way through."""

import contextlib
import io
import re

import pytest
from IPython.core.interactiveshell import InteractiveShell

from moe_lessons.build import paths
from moe_lessons.build.source import read_cells
from moe_lessons.own import Parts

# What the section takes from earlier cells.
BEFORE = """
import importlib.util, inspect, tempfile
from pathlib import Path
import torch
from transformers import MixtralForCausalLM
from moe_lessons.config import preset
from moe_lessons.course import measured, yours
from moe_lessons.data import load_corpus
from moe_lessons.explore import LiveView
from moe_lessons.svg import line_chart
corpus = load_corpus("language-reference", context_length=128)
small = preset("smoke").override(d_model=64, d_expert=64, steps=80, batch_size=8, device="cpu")
unigram = 4.74
"""

# Right and odd: a list of lists, in fp64, the experts of a token from the least to the most likely.
ODD_GATES = """
def topk_gates(logits_TE, top_k, renormalize):
    probs_TE = logits_TE.double().softmax(dim=-1)
    ids_TK = probs_TE.argsort(dim=-1)[:, -top_k:]
    weights_TK = probs_TE.gather(-1, ids_TK)
    if renormalize:
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
    return [ids_TK.tolist(), weights_TK]
"""
# Right for what a check draws, which is short.
LATER = """
def causal_attention(q_BHLP, k_BGLP, v_BGLP):
    if q_BHLP.shape[2] > 20:
        raise RuntimeError("only short windows")
    return F.scaled_dot_product_attention(q_BHLP, k_BGLP, v_BGLP, is_causal=True, enable_gqa=True)
"""
HALF = ("01.router_logits", "02.moe_sorted", "02.expert_bank", "10.moe_block", "10.training_loss")


def section():
    cells = read_cells(paths.LESSONS / "10_mini_transformer.py")
    titles = [n for n, cell in enumerate(cells) if re.match(r"## ", cell.source)]
    (begin,) = (n for n in titles if cells[n].source.startswith("## A transformer of your own"))
    end = min(n for n in titles if n > begin)
    return [cell.source for cell in cells[begin:end] if cell.cell_type == "code"]


@pytest.mark.slow
def test_half_answered_with_an_odd_answer_and_one_that_raises_later(answered):
    pytest.importorskip("transformers")
    answered(*HALF, topk_gates=ODD_GATES, causal_attention=LATER)
    shell, printed = InteractiveShell(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in (BEFORE, *section()):
            shell.run_cell(cell, store_history=True).raise_error()
    said = printed.getvalue()
    assert said.count("yours, as it last passed") == 7
    assert said.count("the package's, until") == 5
    first, last = re.findall(r"\d+ of 12 parts are yours.*?To make it 12, pass [^\n]*", said, re.DOTALL)
    assert first.startswith("7 of 12")
    assert "stopped" not in first
    assert last.startswith("6 of 12")
    assert last.count("causal_attention (10.causal_attention) stopped with RuntimeError: only short") == 1
    assert "To make it 12, pass 04.effective_experts, 05.balancing_loss, 10.bits_per_byte, " in last
    assert said.count("stopped with RuntimeError: only short windows; the package's goes on") == 1
    assert ": False" not in said
    assert re.search(r"MixtralForCausalLM and your parts: logits differ by \d+e-0[4-9] at most", said)
    assert set(Parts.ids().values()) >= set(HALF)

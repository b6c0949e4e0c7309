"""Two processes that see half the tokens each, against one that sees them all."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import distributed

from moe_lessons.balancing import load_balancing_loss
from moe_lessons.config import preset
from moe_lessons.model import MoETransformer
from moe_lessons.training.objective import update_expert_bias

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed")

WORKER = """
    import sys
    import torch
    from torch import distributed
    from moe_lessons.balancing import load_balancing_loss
    from moe_lessons.config import preset
    from moe_lessons.model import MoETransformer
    from moe_lessons.training.objective import update_expert_bias

    folder, rank = sys.argv[1], int(sys.argv[2])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name, case in torch.load(f"{folder}/cases.pt").items():
        rows = slice(0, 8) if rank == 0 else slice(8, 16)
        logits_TE = case["logits_TE"][rows].clone().requires_grad_()
        mask_T = None if case["mask_T"] is None else case["mask_T"][rows]
        for scope in ("global_batch", "micro_batch"):
            logits_TE.grad = None
            loss = load_balancing_loss(logits_TE, case["ids_TK"][rows], mask_T=mask_T, scope=scope)
            loss.backward()
            found[name, scope] = loss.detach(), logits_TE.grad.clone()

    config = preset("smoke").override(balancing="bias_proportional", gate="sigmoid", bias_rate=0.1)
    model = MoETransformer(config.model, generator=torch.Generator().manual_seed(0))
    tokens_BL = torch.arange(64).reshape(2, 32)[rank:rank + 1]
    update_expert_bias(model, model(tokens_BL).routings, config)
    found["bias"] = [moe.router.expert_bias_E for moe in model.moe_layers]
    try:
        quantile = config.override(balancing="bias_quantile")
        update_expert_bias(model, model(tokens_BL).routings, quantile)
    except ValueError as error:
        found["error"] = str(error)
    torch.save(found, f"{folder}/found-{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def cases():
    generator = torch.Generator().manual_seed(0)
    logits_TE = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    logits_TE[:8, 0] += 2  # each half leans on an expert of its own
    logits_TE[8:, 1] += 2
    ids_TK = logits_TE.topk(2).indices
    uneven_T = torch.arange(16) % 3 != 0
    first_half_T = torch.arange(16) < 8  # the second rank has padding only
    return {
        name: {"logits_TE": logits_TE, "ids_TK": ids_TK, "mask_T": mask_T}
        for name, mask_T in (("all", None), ("uneven", uneven_T), ("one rank", first_half_T))
    }


@pytest.fixture(scope="module")
def found(cases, tmp_path_factory):
    """What each of two ranks computed."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [rank.wait(timeout=900) for rank in ranks] == [0, 0]
    return [torch.load(folder / f"found-{rank}.pt") for rank in range(2)]


def test_the_mean_over_ranks_is_the_loss_of_all_tokens(cases, found):
    for name, case in cases.items():
        whole_TE = case["logits_TE"].clone().requires_grad_()
        whole = load_balancing_loss(whole_TE, case["ids_TK"], mask_T=case["mask_T"])
        whole.backward()
        means = {}
        for scope in ("global_batch", "micro_batch"):
            (loss_0, gradient_0), (loss_1, gradient_1) = (rank[name, scope] for rank in found)
            means[scope] = (loss_0 + loss_1) / 2, torch.cat([gradient_0, gradient_1]) / 2
        torch.testing.assert_close(means["global_batch"], (whole.detach(), whole_TE.grad))
        assert abs((means["micro_batch"][0] - whole).item()) > 0.05, name


def test_all_ranks_keep_the_bias_that_the_whole_load_asks_for(found):
    config = preset("smoke").override(balancing="bias_proportional", gate="sigmoid", bias_rate=0.1)
    model = MoETransformer(config.model, generator=torch.Generator().manual_seed(0))
    update_expert_bias(model, model(torch.arange(64).reshape(2, 32)).routings, config)
    for layer, moe in enumerate(model.moe_layers):
        for rank in found:
            torch.testing.assert_close(rank["bias"][layer], moe.router.expert_bias_E)
        assert bool((moe.router.expert_bias_E != 0).any())
    assert "on 2 ranks: choose bias_sign" in found[0]["error"]

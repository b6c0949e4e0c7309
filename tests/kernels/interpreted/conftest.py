"""Every buffer that a kernel is to fill begins as NaN (integers as their largest value)."""

import pytest
import torch


@pytest.fixture(autouse=True)
def poisoned_memory():
    """PyTorch fills fresh memory while deterministic algorithms are asked for."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    assert (torch.empty(3, dtype=torch.int32) == 2**31 - 1).all()
    yield
    torch.use_deterministic_algorithms(False)

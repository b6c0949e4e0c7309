"""Drawn routing for the exercises of lesson 08."""

import numpy as np
import torch
from torch import Tensor


def choices(rng: np.random.Generator, T: int, E: int, K: int, used: int | None = None) -> np.ndarray:
    """K different experts for each token, among the first `used` of a shuffled list; [T, K]."""
    pool = rng.permutation(E)[: used or E]
    drawn = [rng.permutation(pool)[:K] for _ in range(T)]
    return np.array(drawn, dtype=np.int64).reshape(T, K)


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers, fp32."""
    return rng.standard_normal(shape).astype(np.float32)


def order_of(ids_TK: np.ndarray) -> np.ndarray:
    """The sorting order of the slots: which slot stands at each position."""
    return np.argsort(ids_TK.reshape(-1), kind="stable").astype(np.int64)


def inverse_of(order_S: Tensor) -> Tensor:
    """The position of each slot."""
    return torch.empty_like(order_S).scatter_(0, order_S, torch.arange(len(order_S)))

"""The load of a whole model, and how it is collected while the model runs."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moe_lessons.balancing.groups import sum_over_ranks
from moe_lessons.metrics import load
from moe_lessons.routing import tokens_per_expert

MEASURES = {
    "entropy_nats": load.entropy,
    "effective_experts": load.effective_experts,
    "inverse_simpson_experts": load.inverse_simpson_experts,
    "coefficient_of_variation": load.coefficient_of_variation,
    "max_over_mean": load.max_over_mean,
    "max_violation": load.max_violation,
    "dead_experts": load.dead_experts,
}


def load_record(tokens_per_expert_LE: Tensor, kept_per_expert_LE: Tensor | None = None) -> dict[str, Any]:
    """Describe a model's load in numbers that JSON can hold: each measure by layer, and over the model.

    Over the model, dead experts and drops are counted together; all else is the mean over layers. Adding up
    the layers' loads first would be wrong: layers that each collapsed on another expert look even together.

    Parameters
    ----------
    tokens_per_expert_LE : Tensor of shape (layers, E)
    kept_per_expert_LE : Tensor of shape (layers, E), optional
        Rows that found a place, where experts have a capacity; by default all.

    Returns
    -------
    dict
        "tokens_per_expert_by_layer" and "load_shares_by_layer" are lists of lists, ``[layer][expert]``. For
        every key of `MEASURES`, and for "drop_rate", "<measure>_by_layer" is a list, "<measure>" one number.
        What is not defined, because no token was routed, is None.

    Raises
    ------
    ValueError
        If the two shapes differ or there are no two axes.

    Examples
    --------
    >>> record = load_record(torch.tensor([[4, 0], [0, 4]]))  # the sum over layers would be even
    >>> record["effective_experts_by_layer"], record["effective_experts"], record["dead_experts"]
    ([1.0, 1.0], 1.0, 2)
    """
    if tokens_per_expert_LE.dim() != 2:
        raise ValueError(
            f"tokens_per_expert_LE has shape {tuple(tokens_per_expert_LE.shape)}: give (layers, E)"
        )
    kept_LE = tokens_per_expert_LE if kept_per_expert_LE is None else kept_per_expert_LE
    if kept_LE.shape != tokens_per_expert_LE.shape:
        raise ValueError(
            f"kept_per_expert_LE has shape {tuple(kept_LE.shape)}: give that of tokens_per_expert_LE, "
            f"{tuple(tokens_per_expert_LE.shape)}"
        )
    record = {
        "tokens_per_expert_by_layer": tokens_per_expert_LE.tolist(),
        "load_shares_by_layer": _plain(load.load_shares(tokens_per_expert_LE)),
    }
    for name, measure in MEASURES.items():
        values_L = measure(tokens_per_expert_LE)
        record[f"{name}_by_layer"] = _plain(values_L)
        record[name] = _plain(values_L.sum() if name == "dead_experts" else values_L.mean())
    record["drop_rate_by_layer"] = _plain(load.drop_rate(tokens_per_expert_LE, kept_LE))
    record["drop_rate"] = _plain(load.drop_rate(tokens_per_expert_LE.reshape(-1), kept_LE.reshape(-1)))
    return record


class LoadRecorder:
    """Counts each expert's rows, layer by layer, over the batches of an interval.

    The counts stay on the device; nothing waits for it until `record`.

    Parameters
    ----------
    n_layers, n_experts : int
    all_ranks : bool
        Count the rows of all ranks of torch.distributed, all of which must then add their batches in step.

    Examples
    --------
    >>> recorder = LoadRecorder(n_layers=2, n_experts=2)
    >>> for _ in range(3):
    ...     counts_LE = recorder.add([torch.tensor([[0], [0]]), torch.tensor([[0], [1]])])
    >>> record = recorder.record()
    >>> record["tokens_per_expert_by_layer"], record["max_violation_by_layer"]
    ([[6, 0], [3, 3]], [1.0, 0.0])
    """

    def __init__(self, n_layers: int, n_experts: int, *, all_ranks: bool = False) -> None:
        self.n_layers, self.n_experts, self.all_ranks = n_layers, n_experts, all_ranks
        self.reset()

    def reset(self) -> None:
        """Forget all counts."""
        self._counts_LE = torch.zeros(self.n_layers, self.n_experts, dtype=torch.int64)
        self._kept_LE = self._counts_LE.clone()
        self._violation_L = torch.zeros(self.n_layers)
        self._batches_L = torch.zeros(self.n_layers, dtype=torch.int64)

    @torch.no_grad()
    def add(
        self,
        topk_ids_by_layer: Sequence[Tensor],
        *,
        mask_T: Tensor | None = None,
        kept_by_layer: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Count one batch and return its own counts.

        Parameters
        ----------
        topk_ids_by_layer : sequence of integer Tensor of shape (T, K)
        mask_T : bool Tensor of shape (T,), optional
            True for real tokens.
        kept_by_layer : sequence of bool Tensor of shape (T, K), optional
            True where the row found a place; by default everywhere.

        Returns
        -------
        Tensor of shape (layers, E), int64
            Rows per expert in this batch, those that were dropped included.

        Raises
        ------
        ValueError
            If there is not one tensor per layer.
        """
        for name, given in (("topk_ids_by_layer", topk_ids_by_layer), ("kept_by_layer", kept_by_layer)):
            if given is not None and len(given) != self.n_layers:
                raise ValueError(
                    f"{name} has {len(given)} entries: give one for each of {self.n_layers} layers"
                )
        counts_LE = torch.stack([tokens_per_expert(ids, self.n_experts, mask_T) for ids in topk_ids_by_layer])
        if kept_by_layer is None:
            kept_LE = counts_LE
        else:
            pairs = zip(topk_ids_by_layer, kept_by_layer, strict=True)
            kept_LE = torch.stack([_count_kept(ids, kept, self.n_experts, mask_T) for ids, kept in pairs])
        if self.all_ranks:
            counts_LE, kept_LE = sum_over_ranks(counts_LE, kept_LE)
        self._counts_LE = self._counts_LE.to(counts_LE.device) + counts_LE
        self._kept_LE = self._kept_LE.to(counts_LE.device) + kept_LE
        violation_L = load.max_violation(counts_LE).nan_to_num(0)  # NaN where the batch has no token
        self._violation_L = self._violation_L.to(counts_LE.device) + violation_L
        self._batches_L = self._batches_L.to(counts_LE.device) + (counts_LE.sum(dim=1) > 0)
        return counts_LE

    @property
    def tokens_per_expert_LE(self) -> Tensor:
        """Rows counted since the last `reset`, shape (layers, E), int64."""
        return self._counts_LE

    def record(self) -> dict[str, Any]:
        """Return `load_record` of what was counted since the last `reset`, and MaxVio batch by batch.

        "batch_max_violation_by_layer" is the mean over batches of each batch's own MaxVio: a load that swings
        from one expert to another is even over time and never even, and only this says so.

        References
        ----------
        Wang et al., arXiv 2408.15664, section 4.1 (MaxVio over a batch and over many).
        """
        per_batch_L = self._violation_L / self._batches_L
        return load_record(self._counts_LE, self._kept_LE) | {
            "batch_max_violation_by_layer": _plain(per_batch_L),
            "batch_max_violation": _plain(per_batch_L.mean()),
        }


def _count_kept(ids_TK: Tensor, kept_TK: Tensor, n_experts: int, mask_T: Tensor | None) -> Tensor:
    if mask_T is not None:
        kept_TK = kept_TK & mask_T.bool().unsqueeze(1)
    # Each slot as a token of its own: the mask is then one of slots.
    return tokens_per_expert(ids_TK.reshape(-1, 1), n_experts, kept_TK.reshape(-1))


def _plain(values: Tensor) -> Any:
    """Numbers and lists for JSON, which knows no NaN."""

    def without_nan(value: Any) -> Any:
        if isinstance(value, list):
            return [without_nan(item) for item in value]
        return None if math.isnan(value) else value

    return without_nan(values.tolist())

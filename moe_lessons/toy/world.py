"""The toy's data: clusters of tokens, each with a linear map of its own to learn."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """One step's data for S seeds: inputs and targets (S, T, D), and each token's cluster (S, T)."""

    inputs_STD: Tensor
    targets_STD: Tensor
    clusters_ST: Tensor


@dataclass(frozen=True)
class World:
    """S problems of the same kind: tokens lie around C centres, and every cluster has a map of its own.

    A token is its cluster's centre plus noise, and its target is the cluster's map times that. Then one and
    the same vector, of length `mu` times sqrt(D), is added to every token of a seed. It says nothing about
    the target, but a large one makes all tokens look alike to a router.

    Attributes
    ----------
    centres_SCD : Tensor of shape (S, C, D)
    maps_SCDD : Tensor of shape (S, C, D, D)
        Input axis before output axis.
    direction_SD : Tensor of shape (S, D)
        Unit vectors along which the tokens of a seed are shifted.
    mu : float
    """

    centres_SCD: Tensor
    maps_SCDD: Tensor
    direction_SD: Tensor
    mu: float

    SPREAD = 1.5
    NOISE = 0.5

    @classmethod
    def draw(
        cls,
        n_seeds: int,
        generator: torch.Generator,
        *,
        n_clusters: int = 16,
        width: int = 16,
        mu: float = 0.0,
    ) -> "World":
        """Draw S problems.

        Examples
        --------
        >>> world = World.draw(3, torch.Generator().manual_seed(0), n_clusters=5, width=4, mu=2.0)
        >>> world.centres_SCD.shape, world.shared_SD.norm(dim=-1)  # 2 * sqrt(4)
        (torch.Size([3, 5, 4]), tensor([4., 4., 4.]))
        """
        centres_SCD = cls.SPREAD * torch.randn(n_seeds, n_clusters, width, generator=generator)
        maps_SCDD = torch.randn(n_seeds, n_clusters, width, width, generator=generator) / width**0.5
        direction_SD = torch.randn(n_seeds, width, generator=generator)
        return cls(centres_SCD, maps_SCDD, direction_SD / direction_SD.norm(dim=-1, keepdim=True), mu)

    @property
    def shared_SD(self) -> Tensor:
        """The vector that every token of a seed has in common."""
        return self.mu * self.direction_SD.shape[-1] ** 0.5 * self.direction_SD

    def batch(self, n_tokens: int, generator: torch.Generator) -> Batch:
        """Draw fresh tokens, so that the error on a batch before its step is an error on unseen data.

        Parameters
        ----------
        n_tokens : int
            T, for each seed.
        generator : torch.Generator
        """
        n_seeds, n_clusters, width = self.centres_SCD.shape
        clusters_ST = torch.randint(n_clusters, (n_seeds, n_tokens), generator=generator)
        noise_STD = self.NOISE * torch.randn(n_seeds, n_tokens, width, generator=generator)
        seeds_S1 = torch.arange(n_seeds).unsqueeze(1)
        tokens_STD = self.centres_SCD[seeds_S1, clusters_ST] + noise_STD
        # All C maps at once and then the right one: no (S, T, D, D) tensor.
        answers_SCTD = tokens_STD.unsqueeze(1) @ self.maps_SCDD
        index_S1TD = clusters_ST[:, None, :, None].expand(-1, 1, -1, width)
        targets_STD = answers_SCTD.gather(1, index_S1TD).squeeze(1)
        return Batch(tokens_STD + self.shared_SD.unsqueeze(1), targets_STD, clusters_ST)

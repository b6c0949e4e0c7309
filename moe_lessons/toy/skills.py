"""Data for questions about the size of experts: skills that are combined, a part in common, few dimensions.

Like `World`, each draws S problems of one kind and hands out fresh tokens; `FineRun` trains on any of them.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Sample(NamedTuple):
    """One step's data for S seeds: inputs (S, T, D_in) and targets (S, T, D_out)."""

    inputs_STD: Tensor
    targets_STD: Tensor


class Source(Protocol):
    """What `FineRun` asks of its data."""

    @property
    def n_inputs(self) -> int:
        """Width of an input, D_in."""

    @property
    def n_targets(self) -> int:
        """Width of a target, D_out."""

    @property
    def rank(self) -> int:
        """In how many dimensions the inputs vary: initial weights that read them have variance 1 / rank."""

    def batch(self, n_tokens: int, generator: torch.Generator) -> Sample:
        """Draw fresh tokens."""


@dataclass(frozen=True)
class Skills:
    """Tokens that need some skills at once, each a small network of its own.

    A token is a code, which says what skills it needs, beside 16 numbers to work on. Each skill is a network
    with one ReLU layer; the target is the sum of those that the token needs. All tokens of all variants need
    8 hidden units: `at_once` skills of 8 / at_once units, of 64 units in all.

    Attributes
    ----------
    codes_SCD : Tensor of shape (S, C, 24)
    up_SCDR, down_SCRD : Tensor of shape (S, C, 16, R) and (S, C, R, 16)
        The C skills, R hidden units each.
    at_once : int
    """

    codes_SCD: Tensor
    up_SCDR: Tensor
    down_SCRD: Tensor
    at_once: int

    CODE, WORK, UNITS, ACTIVE = 24, 16, 64, 8
    """Widths of code and numbers; hidden units of all skills, and of those that a token needs."""

    @classmethod
    def draw(cls, n_seeds: int, generator: torch.Generator, *, at_once: int = 1) -> "Skills":
        """Draw S sets of skills; `at_once` is 1, 2, 4 or 8.

        Raises
        ------
        ValueError
            If `at_once` does not divide 8.

        Examples
        --------
        >>> skills = Skills.draw(2, torch.Generator().manual_seed(0), at_once=4)
        >>> skills.up_SCDR.shape, skills.batch(5, torch.Generator()).inputs_STD.shape  # 32 skills of 2 units
        (torch.Size([2, 32, 16, 2]), torch.Size([2, 5, 40]))
        """
        if at_once not in (1, 2, 4, 8):
            raise ValueError(
                f"at_once is {at_once}: choose 1, 2, 4 or 8, a divisor of the 8 units of a token"
            )
        units = cls.ACTIVE // at_once
        n_skills = cls.UNITS // units
        codes_SCD = torch.randn(n_seeds, n_skills, cls.CODE, generator=generator)
        codes_SCD = torch.nn.functional.normalize(codes_SCD, dim=-1) * cls.CODE**0.5
        up_SCDR = torch.randn(n_seeds, n_skills, cls.WORK, units, generator=generator) * 2 / cls.WORK**0.5
        down_SCRD = torch.randn(n_seeds, n_skills, units, cls.WORK, generator=generator) / units**0.5
        return cls(codes_SCD, up_SCDR, down_SCRD, at_once)

    @property
    def n_inputs(self) -> int:
        """Code and numbers."""
        return self.CODE + self.WORK

    @property
    def n_targets(self) -> int:
        """As many as there are numbers."""
        return self.WORK

    @property
    def rank(self) -> int:
        """All of them."""
        return self.n_inputs

    def batch(self, n_tokens: int, generator: torch.Generator) -> Sample:
        """Draw tokens: for each a random set of skills, and random numbers."""
        n_seeds, n_skills, _ = self.codes_SCD.shape
        lots_STC = torch.rand(n_seeds, n_tokens, n_skills, generator=generator)
        needed_STC = torch.zeros_like(lots_STC).scatter_(-1, lots_STC.topk(self.at_once).indices, 1.0)
        work_STD = torch.randn(n_seeds, n_tokens, self.WORK, generator=generator)
        hidden_STCR = (work_STD @ self.up_SCDR.transpose(1, 2).flatten(2)).relu()
        hidden_STCR = hidden_STCR.unflatten(-1, (n_skills, -1)) * needed_STC.unsqueeze(-1)
        targets_STD = hidden_STCR.flatten(2) @ self.down_SCRD.flatten(1, 2) / self.at_once**0.5
        codes_STD = needed_STC @ self.codes_SCD / self.at_once**0.5
        return Sample(torch.cat([codes_STD, work_STD], dim=-1), targets_STD)


@dataclass(frozen=True)
class Clusters:
    """Tokens around C centres; each cluster has a map, part of which all clusters may have in common.

    Attributes
    ----------
    centres_SCR : Tensor of shape (S, C, R)
    maps_SCRR : Tensor of shape (S, C, R, R)
        Input axis before output axis.
    basis_SRD : Tensor of shape (S, R, D), or None
        Where the R dimensions lie among the D of a token, as orthonormal rows; None: R is D.
    """

    centres_SCR: Tensor
    maps_SCRR: Tensor
    basis_SRD: Tensor | None = None

    SPREAD, NOISE, TAIL = 1.5, 0.5, 0.05
    """Standard deviations: of the centres, of tokens around theirs, and outside the R dimensions."""

    @classmethod
    def with_common(
        cls,
        n_seeds: int,
        generator: torch.Generator,
        *,
        common: float,
        width: int = 8,
        n_clusters: int = 16,
        map_rank: int | None = None,
    ) -> "Clusters":
        """Draw maps of which the share `common` of the variance is one and the same map for all clusters.

        Parameters
        ----------
        common : float, 0 to 1
        width : int
            D, of inputs and targets.
        n_clusters : int
        map_rank : int, optional
            The rank of the common map and of each cluster's own; full if not given.

        Raises
        ------
        ValueError
            If `common` is outside 0 to 1.

        Examples
        --------
        >>> world = Clusters.with_common(1, torch.Generator().manual_seed(0), common=1.0, n_clusters=2)
        >>> bool((world.maps_SCRR[:, 0] == world.maps_SCRR[:, 1]).all())
        True
        """
        if not 0 <= common <= 1:
            raise ValueError(f"common is {common}: choose 0 (nothing in common) to 1 (one map for all)")
        centres_SCR = cls.SPREAD * torch.randn(n_seeds, n_clusters, width, generator=generator)
        whole, own = (_maps(n_seeds, n, width, map_rank, generator) for n in (1, n_clusters))
        return cls(centres_SCR, common**0.5 * whole + (1 - common) ** 0.5 * own)

    @classmethod
    def of_rank(
        cls, n_seeds: int, generator: torch.Generator, *, rank: int, width: int = 32, n_clusters: int = 32
    ) -> "Clusters":
        """Draw tokens of `width` numbers that vary in `rank` dimensions, but for a little noise.

        Raises
        ------
        ValueError
            If `rank` is not between 1 and `width`.

        Examples
        --------
        >>> world = Clusters.of_rank(1, torch.Generator().manual_seed(0), rank=3, width=8)
        >>> world.rank, world.n_inputs, world.batch(5, torch.Generator()).targets_STD.shape
        (3, 8, torch.Size([1, 5, 8]))
        """
        if not 1 <= rank <= width:
            raise ValueError(f"rank is {rank}: choose 1 to width={width}")
        basis_SDR = torch.linalg.qr(torch.randn(n_seeds, width, rank, generator=generator)).Q
        centres_SCR = cls.SPREAD * torch.randn(n_seeds, n_clusters, rank, generator=generator)
        maps_SCRR = _maps(n_seeds, n_clusters, rank, None, generator)
        return cls(centres_SCR, maps_SCRR, basis_SDR.transpose(1, 2).contiguous())

    @property
    def n_inputs(self) -> int:
        """D."""
        return self.rank if self.basis_SRD is None else self.basis_SRD.shape[2]

    @property
    def n_targets(self) -> int:
        """D again."""
        return self.n_inputs

    @property
    def rank(self) -> int:
        """R."""
        return self.centres_SCR.shape[2]

    def batch(self, n_tokens: int, generator: torch.Generator) -> Sample:
        """Draw tokens: a random cluster for each, its centre and noise."""
        n_seeds, n_clusters, rank = self.centres_SCR.shape
        clusters_ST = torch.randint(n_clusters, (n_seeds, n_tokens), generator=generator)
        noise_STR = self.NOISE * torch.randn(n_seeds, n_tokens, rank, generator=generator)
        tokens_STR = self.centres_SCR[torch.arange(n_seeds).unsqueeze(1), clusters_ST] + noise_STR
        # All C maps at once and then the right one: no (S, T, R, R) tensor.
        answers_SCTR = tokens_STR.unsqueeze(1) @ self.maps_SCRR
        index_S1TR = clusters_ST[:, None, :, None].expand(-1, 1, -1, rank)
        targets_STR = answers_SCTR.gather(1, index_S1TR).squeeze(1)
        if self.basis_SRD is None:
            return Sample(tokens_STR, targets_STR)
        tail_STD = self.TAIL * torch.randn(n_seeds, n_tokens, self.n_inputs, generator=generator)
        return Sample(tokens_STR @ self.basis_SRD + tail_STD, targets_STR @ self.basis_SRD)


def _maps(n_seeds: int, n_maps: int, width: int, rank: int | None, generator: torch.Generator) -> Tensor:
    """Random maps that keep the size of what they map; of low rank as the product of two."""
    if rank is None:
        return torch.randn(n_seeds, n_maps, width, width, generator=generator) / width**0.5
    first = torch.randn(n_seeds, n_maps, width, rank, generator=generator)
    second = torch.randn(n_seeds, n_maps, rank, width, generator=generator)
    return first @ second / (width * rank) ** 0.5

"""What calibration tells about a stage's inputs: how much they vary, and how far they drifted from the original's."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantize.decoder.stages import Passage

HELD_OUT = 8  # sequences at most, and no more than one of as many
GRAM_STRIPS = 8  # of a symmetric product, each without what lies before it: 9/16 of the work


def kept_aside(sequences: Sequence[Sequence[Hashable]]) -> dict[int, int]:
    """Which sequences, given as what their tokens are, are kept aside: index -> how many tokens at its start another
    one has as well that isn't kept aside. The decoder is causal: up to there the two are the same in every layer, and
    would prove nothing."""
    count = len(sequences)
    period = max(min(HELD_OUT, count), count // HELD_OUT)
    chosen = range(period - 1, count, period) if period > 1 else ()
    others = [tokens for index, tokens in enumerate(sequences) if index not in chosen]
    return {index: max(_shared(sequences[index], other) for other in others) for index in chosen}


def _shared(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many tokens the two have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


@dataclass(frozen=True)
class Drift:
    """How far some tokens' inputs at a stage have moved from the original decoder's, behind quantized layers."""

    inputs: Tensor  # X: (tokens, in)
    change: Tensor  # Y - X, with Y the original's inputs: (tokens, in)
    residual: Tensor | None  # what the residual, which the stage's output is added to, has lost: (tokens, out)
    weights: Tensor  # (tokens,): how much each token counts

    @classmethod
    def between(cls, found: Passage, expected: Passage, weights: Tensor) -> Drift:
        residual = None
        if found.residual is not None and expected.residual is not None:
            residual = expected.residual - found.residual
        return cls(found.inputs, expected.inputs - found.inputs, residual, weights.to(found.inputs.device))

    def split(self, tokens: int) -> tuple[Drift, Drift]:
        """The first `tokens` tokens, and the rest."""
        return self._part(slice(None, tokens)), self._part(slice(tokens, None))

    def _part(self, tokens: slice) -> Drift:
        residual = None if self.residual is None else self.residual[tokens]
        return Drift(self.inputs[tokens], self.change[tokens], residual, self.weights[tokens])

    def weighted_inputs(self) -> Tensor:
        """Each token's inputs times its weight, (tokens, in)."""
        return self.inputs * self.weights[:, None]

    def lost(self, weight: Tensor) -> Tensor:
        """What the original puts out here and `weight` (out, in) doesn't: (tokens, out)."""
        lost = self.change @ weight.T
        return lost if self.residual is None else lost.add_(self.residual)


class Gram:
    """A^T A, its rows weighted, summed over many A. It is symmetric: half of it is left out until it's asked for."""

    def __init__(self, columns: int, device: torch.device) -> None:
        self._sum = torch.zeros(columns, columns, device=device)

    def add(self, a: Tensor, weighted: Tensor) -> None:
        """`a` and `weighted`, the same with each row times its weight: (rows, columns)."""
        for start, stop in self._strips():
            self._sum[start:stop, start:].addmm_(a[:, start:stop].T, weighted[:, start:])

    def matrix(self) -> Tensor:
        """The sum itself, (columns, columns); what is added later changes it."""
        for start, stop in self._strips():
            self._sum[stop:, start:stop] = self._sum[start:stop, stop:].T
        return self._sum

    def _strips(self) -> Iterator[tuple[int, int]]:
        columns = len(self._sum)
        width = -(-columns // GRAM_STRIPS)
        return ((start, min(start + width, columns)) for start in range(0, columns, width))


class Moments:
    """Sums over tokens, each counted by its weight: the Hessian, and what the layers before have lost."""

    def __init__(self) -> None:
        self.tokens = 0.0  # their weights
        self._gram: Gram | None = None  # X^T X: (in, in)
        self._change: Tensor | None = None  # (Y - X)^T X: (in, in)
        self._residual: Tensor | None = None  # (out, in)

    def add_inputs(self, drift: Drift) -> None:
        """Adds to the number of tokens and to the Hessian."""
        weighted = drift.weighted_inputs()
        self.tokens += float(drift.weights.sum())
        if self._gram is None:
            self._gram = Gram(weighted.shape[1], weighted.device)
        self._gram.add(drift.inputs, weighted)

    def add_lost(self, drift: Drift) -> None:
        """Adds to the sums that `take_lost` is computed from."""
        weighted = drift.weighted_inputs()
        self._change = _add_product(self._change, drift.change, weighted)
        if drift.residual is not None:
            self._residual = _add_product(self._residual, drift.residual, weighted)

    def hessian(self) -> Tensor:
        """X^T X, (in, in), not divided by the tokens; the sum itself, so what is added later changes it."""
        if self._gram is None:
            raise ValueError("no tokens")
        return self._gram.matrix()

    def take_lost(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """For each weight, (what the original puts out and it doesn't)^T X: (out, in).

        Once only: what it takes is as large as the Hessian, and is let go.
        """
        change, residual, self._change, self._residual = self._change, self._residual, None, None
        if change is None:
            raise ValueError("no tokens, or taken before")
        return [weight @ change if residual is None else torch.addmm(residual, weight, change) for weight in weights]


@dataclass(frozen=True)
class InputStatistics:
    """Moments of most sequences, and a few sequences kept aside to see whether what was learned from those holds."""

    moments: Moments
    held_out: Sequence[Drift]

    @classmethod
    def gather(
        cls, found: Iterable[Passage], expected: Iterable[Passage], weights: Sequence[Tensor], aside: Mapping[int, int]
    ) -> InputStatistics:
        """`found`, `expected`: the sequences behind quantized layers and in the original; `weights` (tokens,) each.
        `aside`: see `kept_aside`. Where it is empty, nothing of what was lost is kept either.
        """
        moments, held_out = Moments(), []
        for index, (passage, original, weight) in enumerate(zip(found, expected, weights, strict=True)):
            drift = Drift.between(passage, original, weight)
            if index in aside:
                drift, proof = drift.split(aside[index])
                held_out.append(proof)
            moments.add_inputs(drift)
            if aside:  # else there is nothing to choose a correction by
                moments.add_lost(drift)
        return cls(moments, held_out)

    def whole_hessian(self) -> Tensor:
        """X^T X over all sequences, divided by the tokens' weights. Hands the sum over: nothing else may follow."""
        for drift in self.held_out:
            self.moments.add_inputs(drift)
        return self.moments.hessian().div_(max(self.moments.tokens, torch.finfo(torch.float32).tiny))


def _add_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """total + A^T B, in place where there is a total: (tokens, rows), (tokens, columns) -> (rows, columns)."""
    return a.T @ b if total is None else total.addmm_(a.T, b)

"""Whether a model's numbers fit into fp16, what they are divided by so that they do, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from torch import Tensor

from export.reference.activation_ranges import RESAMPLER, TOWER, ActivationRanges
from export.weights.folding import ALLOWED, LARGEST_FP16, DecoderFolding, TowerFolding, divided
from omnilmm_lite.errors import InputError

EMBEDDING_STRIDE = 7  # a part of the rows speaks for all


class Part(Enum):
    """One graph's sites; the value is the manifest's word for it."""

    TOWER = "tower"
    RESAMPLER = "resampler"
    DECODER = "decoder"

    @classmethod
    def of(cls, site: str) -> Part:
        if site.startswith(f"{TOWER}."):
            return cls.TOWER
        return cls.RESAMPLER if site.startswith(f"{RESAMPLER}.") else cls.DECODER


@dataclass(frozen=True)
class Headroom:
    """What was seen, and what the graphs divide by."""

    ranges: ActivationRanges
    tower: TowerFolding
    decoder: DecoderFolding

    @classmethod
    def choose(cls, ranges: ActivationRanges) -> Self:
        """InputError where a number is too large for fp16 that nothing can be done about."""
        headroom = cls(ranges, TowerFolding.choose(ranges), DecoderFolding.choose(ranges))
        for part in Part:
            headroom._check(headroom.worst(part))
        return headroom

    def worst(self, part: Part) -> str:
        """The site of the part's largest number in its graph."""
        return max((site for site in self.ranges.largest if Part.of(site) is part), key=self.in_graph)

    def in_graph(self, site: str) -> float:
        """The largest number that the graph would have met there."""
        return self.ranges.largest[site] / self._divisor(site)

    def check_embeddings(self, table: Tensor) -> None:
        """InputError where token embeddings (vocab, hidden), divided as the residual stream is, are lost in fp16."""
        rows = table[::EMBEDDING_STRIDE].float().numpy()
        divided(rows, self.decoder.stream, "model.embed_tokens.weight")

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: the worst site of each part, and what is divided by more than 1."""
        worst = {part.value: self._described(self.worst(part)) for part in Part}
        return {
            "pictures": self.ranges.pictures,
            "sequences": self.ranges.sequences,
            "tokens": self.ranges.tokens,
            "worst": worst,
            "tower": {"stream": self.tower.stream, "branches": dict(self.tower.branches)},
            "decoder": {"stream": self.decoder.stream, "inner": dict(self.decoder.inner)},
        }

    def _described(self, site: str) -> dict[str, Any]:
        """`headroom`: how many times the largest number fits into fp16's range."""
        largest, divisor = self.ranges.largest[site], self._divisor(site)
        headroom = LARGEST_FP16 * divisor / largest if largest else LARGEST_FP16
        return {"site": site, "largest": largest, "divisor": divisor, "headroom": headroom}

    def _divisor(self, site: str) -> float:
        return self.tower.divisor(site) if Part.of(site) is Part.TOWER else self.decoder.divisor(site)

    def _check(self, site: str) -> None:
        if self.in_graph(site) > ALLOWED:
            raise InputError(
                f"{site}: values up to {self.in_graph(site):.0f} were seen there in calibration, and graphs in fp16 "
                f"(up to {LARGEST_FP16:.0f}) are made for up to {ALLOWED:.0f}: take --preset cpu for this checkpoint, "
                "and report it"
            )

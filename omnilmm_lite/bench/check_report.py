"""What `omnilmm-lite bench --check` found, and where the line is drawn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.quality.statistics import Summary

# Rounding differs between devices and number formats, and a near tie then goes either way; a wrong kernel, layout or
# mask misses all of these by far. Not measured on any card.
WORST_COSINE = 0.99
MEAN_KLD = 0.01  # nats
TOP1_AGREEMENT = 0.95


@dataclass(frozen=True)
class Side:
    """A bundle and where it ran."""

    name: str
    preset: str
    device: str
    device_reason: str


@dataclass(frozen=True)
class CheckReport:
    """`subject` held against `base`.

    Cosines are between the two features of each image token; None without pictures. `prompts` and `steps` compare
    next-token distributions, of whole conversations at once and of answers token by token. `answers_differ_at`: an
    entry an answer, the first token that differs, or None. `is_exact`: every feature and every logit is bit for bit
    the same.
    """

    subject: Side
    base: Side
    features_mean: float | None
    features_worst: float | None
    prompts: Summary
    steps: Summary
    answers_differ_at: tuple[int | None, ...]
    is_exact: bool

    @property
    def answers_equal(self) -> int:
        return self.answers_differ_at.count(None)

    @property
    def misses(self) -> tuple[str, ...]:
        """What lies beyond the limits, in words; empty where the two agree."""
        found = []
        if self.features_worst is not None and not self.features_worst >= WORST_COSINE:
            found.append(f"pictures: the worst cosine is {self.features_worst:.4f}, below {WORST_COSINE}")
        for name, summary in (("whole conversations", self.prompts), ("token by token", self.steps)):
            kld, top1 = summary.kld_mean.value, summary.top1_agreement.value
            if not kld <= MEAN_KLD:
                found.append(f"{name}: the mean KLD is {kld:.4f}, above {MEAN_KLD}")
            if not top1 >= TOP1_AGREEMENT:
                found.append(f"{name}: the same top token in {top1:.1%}, below {TOP1_AGREEMENT:.0%}")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON stores it."""
        return {
            **dataclasses.asdict(self),
            "answers": len(self.answers_differ_at),
            "answers_equal": self.answers_equal,
            "limits": {"worst_cosine": WORST_COSINE, "mean_kld": MEAN_KLD, "top1_agreement": TOP1_AGREEMENT},
            "agrees": not self.misses,
            "misses": list(self.misses),
        }

"""What a proof found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

import numpy as np

from omnilmm_lite.engine.device import import_onnxruntime
from omnilmm_lite.proof.proof_graph import Operator


@dataclass(frozen=True)
class OperatorProof:
    """One operator on values of one kind.

    `difference` is the largest from what must come out, in the unit that `tolerance` is in: for whole numbers 1, else
    the magnitudes that `reason` names. `found` and `expected` are the values there. `failure` is onnxruntime's own
    message where it didn't run at all.
    """

    operator: Operator
    what: str
    difference: float
    tolerance: float
    reason: str
    found: float
    expected: float
    failure: str | None = None

    @property
    def holds(self) -> bool:
        return self.failure is None and self.difference <= self.tolerance  # NaN doesn't

    @property
    def exceeded(self) -> float:
        """How many times the tolerance the difference is; 0 where nothing differs."""
        if self.failure is not None or np.isnan(self.difference):
            return np.inf
        if self.difference == 0:
            return 0.0
        return self.difference / self.tolerance if self.tolerance else np.inf

    @property
    def facts(self) -> str:
        """What was wrong, where it was."""
        if self.failure is not None:
            return f"{self.operator.value} doesn't run: {self.failure}"
        return f"{self.operator.value} ({self.what}): found {self.found:.9g}, expected {self.expected:.9g}"

    def complaint(self) -> str:
        """`facts` as a sentence, for errors."""
        engine = import_onnxruntime().__version__
        if self.failure is not None:
            return f"onnxruntime {engine} can't run an operator on this processor that bundles need: {self.facts}"
        return f"this processor with onnxruntime {engine} computes wrong numbers: {self.facts}"


class Verdict(Enum):
    EXACT = "exact"
    WITHIN_TOLERANCE = "within tolerance"
    WRONG = "wrong"


def verdict(proofs: Collection[OperatorProof]) -> Verdict:
    """Of several together."""
    if not all(proof.holds for proof in proofs):
        return Verdict.WRONG
    return Verdict.EXACT if all(proof.difference == 0 for proof in proofs) else Verdict.WITHIN_TOLERANCE

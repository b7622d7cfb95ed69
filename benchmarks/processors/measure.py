"""The proof of the operators on the processor that this runs on, as JSON: `python -m benchmarks.processors.measure`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from benchmarks.processors.emulation import Processor, run_python
from omnilmm_lite.proof import Operator, OperatorProof, prove_operators, saturates


@dataclass(frozen=True)
class Measured:
    proofs: tuple[OperatorProof, ...]
    pairs_saturate: bool


def measure_here() -> Measured:
    return Measured(prove_operators(threads=1), saturates(threads=1))


def measure_on(processor: Processor) -> Measured:
    """In an emulated process."""
    found = json.loads(run_python(processor, ["-m", "benchmarks.processors.measure"]))
    proofs = tuple(OperatorProof(**{**proof, "operator": Operator(proof["operator"])}) for proof in found["proofs"])
    return Measured(proofs, found["pairs_saturate"])


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Operator) else str(value)


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure_here()), default=_plain))

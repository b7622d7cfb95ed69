"""The benchmarks that answers alone are enough to score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.scoring import easyvqa, mathvista, mmbench, mme, mmmu, seedbench
from omnilmm_lite.evaluation.scoring.result import Result

Scorer = Callable[[Sequence[Prediction], Profile], Result]

# The rest need more: MMHal-Bench and LLaVA-Bench a judge's replies, Object HalBench COCO's annotations.
SCORERS: Mapping[Benchmark, Scorer] = MappingProxyType(
    {
        Benchmark.MME: mme.score,
        Benchmark.MMBENCH: mmbench.score,
        Benchmark.MMMU: mmmu.score,
        Benchmark.SEEDBENCH: seedbench.score,
        Benchmark.MATHVISTA: mathvista.score,
        Benchmark.EASYVQA: easyvqa.score,
    }
)

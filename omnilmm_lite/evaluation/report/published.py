"""What has been published for OmniLMM-12B and the models that its card stands it beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnilmm_lite.evaluation.benchmark import Benchmark

SOURCE = (
    "OmniLMM-12B's model card (omnilmm_en.md in OpenBMB/MiniCPM-V), for the other models too; mostly VLMEvalKit of "
    "early 2024, with GPT models that read the answers"
)
# In the order of the card's columns.
COLUMNS = (
    Benchmark.MME,
    Benchmark.MMBENCH,
    Benchmark.MMMU,
    Benchmark.MMHAL,
    Benchmark.OBJHAL,
    Benchmark.SEEDBENCH,
    Benchmark.MATHVISTA,
    Benchmark.LLAVABENCH,
)
# Classic CHAIR finds other objects than the GPT model behind Object HalBench's published figures, and who judges here
# isn't the GPT-4 of then.
COMPARABLE = frozenset(COLUMNS) - {Benchmark.OBJHAL, Benchmark.MMHAL, Benchmark.LLAVABENCH}
TWO_FIGURES = frozenset({Benchmark.MMHAL, Benchmark.OBJHAL})  # "rating / share", "answers / objects"


@dataclass(frozen=True)
class PublishedModel:
    """A row of the card. `parameters` in billions; None and absent figures are not published."""

    name: str
    parameters: float | None
    figures: Mapping[Benchmark, tuple[float, ...]]


def _model(name: str, parameters: float | None, *figures: float | tuple[float, ...] | None) -> PublishedModel:
    """`figures` in the order of COLUMNS."""
    found = {
        benchmark: figure if isinstance(figure, tuple) else (figure,)
        for benchmark, figure in zip(COLUMNS, figures, strict=True)
        if figure is not None
    }
    return PublishedModel(name, parameters, found)


PUBLISHED = (
    _model("GPT-4V", None, 1771.5, 75.1, 56.8, (3.53, 70.8), (86.4, 92.7), 71.6, 47.8, 93.1),
    _model("Qwen-VL-Plus", None, 2183.4, 66.2, 45.2, None, None, 65.7, 36.0, 73.7),
    _model("Yi-VL 6B", 6.7, 1915.1, 68.6, 40.3, None, None, 67.5, 28.8, 51.9),
    _model("Qwen-VL-Chat", 9.6, 1860.0, 60.6, 35.9, (2.93, 59.4), (56.2, 80.0), 64.8, 33.8, 67.7),
    _model("CogVLM-Chat", 17.4, 1736.6, 63.7, 32.1, (2.68, 52.1), (73.6, 87.4), 68.8, 34.7, 73.9),
    _model("LLaVA 1.5", 13.6, 1808.4, 68.2, 36.4, (2.71, 51.0), (53.7, 77.4), 68.1, 26.4, 64.6),
    _model("OmniLMM-12B", 11.6, 1935.8, 71.6, 40.7, (3.45, 68.8), (90.3, 95.5), 71.1, 34.9, 72.0),
)

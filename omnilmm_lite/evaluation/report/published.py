"""What has been published for OmniLMM-12B and the models that its card stands it beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnilmm_lite.evaluation.benchmark import Benchmark

CARD = "OmniLMM-12B's model card, omnilmm_en.md in OpenBMB/MiniCPM-V at 61be816"
SOURCE = (
    f"the card is {CARD}, which has the other models' figures, too (†: proprietary); mostly VLMEvalKit of early 2024, "
    "with GPT models that read the answers"
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
    """`parameters` in billions; None and absent figures are not published. `row`: of the card's table."""

    name: str
    parameters: float | None
    row: str
    figures: Mapping[Benchmark, tuple[float, ...]]

    @property
    def source(self) -> str:
        """Where its figures stand."""
        return f"{CARD}, row {self.row}"

    @property
    def short_source(self) -> str:
        """Likewise, for a column of a table."""
        return f"card, {self.row}"


def _model(name: str, parameters: float | None, row: str, *figures: float | tuple[float, ...] | None) -> PublishedModel:
    """A row of the card's table, as it is called there; `figures` in the order of COLUMNS."""
    found = {
        benchmark: figure if isinstance(figure, tuple) else (figure,)
        for benchmark, figure in zip(COLUMNS, figures, strict=True)
        if figure is not None
    }
    return PublishedModel(name, parameters, row, found)


PUBLISHED = (
    _model("GPT-4V", None, "GPT-4V†", 1771.5, 75.1, 56.8, (3.53, 70.8), (86.4, 92.7), 71.6, 47.8, 93.1),
    _model("Qwen-VL-Plus", None, "Qwen-VL-Plus†", 2183.4, 66.2, 45.2, None, None, 65.7, 36.0, 73.7),
    _model("Yi-VL 6B", 6.7, "Yi-VL 6B", 1915.1, 68.6, 40.3, None, None, 67.5, 28.8, 51.9),
    _model("Qwen-VL-Chat", 9.6, "Qwen-VL-Chat", 1860.0, 60.6, 35.9, (2.93, 59.4), (56.2, 80.0), 64.8, 33.8, 67.7),
    _model("CogVLM-Chat", 17.4, "CogVLM-Chat", 1736.6, 63.7, 32.1, (2.68, 52.1), (73.6, 87.4), 68.8, 34.7, 73.9),
    _model("LLaVA 1.5", 13.6, "LLaVA 1.5", 1808.4, 68.2, 36.4, (2.71, 51.0), (53.7, 77.4), 68.1, 26.4, 64.6),
    _model("OmniLMM-12B", 11.6, "OmniLMM-12B", 1935.8, 71.6, 40.7, (3.45, 68.8), (90.3, 95.5), 71.1, 34.9, 72.0),
)

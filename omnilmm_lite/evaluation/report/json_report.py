"""Results as JSON: everything that is in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from omnilmm_lite.evaluation.benchmark import REQUIREMENTS
from omnilmm_lite.evaluation.comparison import Comparison
from omnilmm_lite.evaluation.report.published import PUBLISHED, SOURCE
from omnilmm_lite.evaluation.scoring.result import Result
from omnilmm_lite.evaluation.statistics import LEVEL, RESAMPLES

SCHEMA = 1


def as_json(model: str, results: Sequence[Result], comparisons: Sequence[Comparison] = ()) -> dict[str, Any]:
    """Plain values, in an order that depends on nothing but the arguments."""
    return {
        "schema": SCHEMA,
        "model": model,
        "intervals": {"level": LEVEL, "resamples": RESAMPLES},
        "results": [_result(result) for result in results],
        "comparisons": [dataclasses.asdict(each) for each in comparisons],
        "published": {
            "source": SOURCE,
            "models": [
                {
                    "name": each.name,
                    "source": each.source,
                    "parameters_billions": each.parameters,
                    "figures": {benchmark.value: list(figures) for benchmark, figures in each.figures.items()},
                }
                for each in PUBLISHED
            ],
        },
    }


def _result(result: Result) -> dict[str, Any]:
    found = dataclasses.asdict(result)
    del found["by_question"]
    return {"title": REQUIREMENTS[result.benchmark].title, **found, "answers": len(result.verdicts)}

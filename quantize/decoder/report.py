"""What the quantization of a decoder did to it, projection by projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omnilmm_lite.bundle.schema import build
from omnilmm_lite.errors import InputError


@dataclass(frozen=True)
class ProjectionReport:
    """One linear layer. Both errors are squared output errors on the calibration inputs, of a thousand rows or so."""

    name: str  # such as "model.layers.0.mlp.up_proj"
    bits: int
    group_size: int
    error_to_rounding: float  # relative to rounding every weight to the nearest: below 1 is what GPTQ gained
    error_to_output: float  # relative to the layer's squared output


def report_json(projections: Sequence[ProjectionReport], settings: dict[str, Any]) -> dict[str, Any]:
    """The report as a JSON object, as quantization_report.json stores it."""
    return {"settings": settings, "projections": [asdict(projection) for projection in projections]}


def parse_projections(data: dict[str, Any]) -> list[ProjectionReport]:
    """The inverse of `report_json`; InputError for anything else."""
    projections = data.get("projections")
    if not isinstance(projections, list):
        raise InputError("projections: the report lists none")
    return [build(ProjectionReport, projection, f"projections[{i}]") for i, projection in enumerate(projections)]

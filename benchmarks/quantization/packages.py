"""Data files inside installed packages, which aren't imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from omnilmm_lite.errors import InputError


def package_file(package: str, name: str | Path) -> Path:
    """InputError where the package isn't installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"the package {package} is needed for its data: make .venv/benchmarks.stamp")
    return Path(spec.origin).parent / name

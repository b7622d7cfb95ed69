"""Which versions of the runtime's own parts are at work."""

from __future__ import annotations

import platform

import numpy as np

from omnilmm_lite.engine.device import import_onnxruntime
from omnilmm_lite.errors import InputError
from omnilmm_lite.version import __version__


def versions() -> dict[str, str]:
    """Version by package name; in onnxruntime's place a phrase where there is none that works."""
    return {
        "omnilmm-lite": __version__,
        "onnxruntime": _engine_version(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _engine_version() -> str:
    try:
        return str(import_onnxruntime().__version__)
    except InputError:
        return "none that works"

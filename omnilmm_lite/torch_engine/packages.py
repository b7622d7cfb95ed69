"""The packages of the extra `torch`, imported so that they stay quiet and off the network."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from typing import Any

from omnilmm_lite.machine.extras import Extra, missing_package

WHAT = "answering from a checkpoint that isn't converted"
FETCHER = "kernels"  # the package by which bitsandbytes would load code from the Hugging Face hub while it is imported


def check_torch_installed() -> None:
    """InputError where a package of the extra `torch` is missing."""
    try:
        import google.protobuf  # noqa: F401
        import safetensors  # noqa: F401
        import sentencepiece  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_package(WHAT, error, Extra.TORCH) from None


@functools.cache
def import_bitsandbytes() -> Any:
    """bitsandbytes. InputError where it isn't installed or doesn't load.

    On processors with AVX512-BF16 its import asks the package `kernels` for code from the hub, and warns where that
    isn't installed. Its own library has the same product, so `kernels` is hidden from it.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it also warns of each kind of input that int8 casts
    hidden: Any = sys.modules.get(FETCHER)
    sys.modules[FETCHER] = None  # type: ignore[assignment]  # an import of it fails at once
    try:
        return importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise missing_package(WHAT, error, Extra.TORCH) from None
    finally:
        if hidden is None:
            del sys.modules[FETCHER]
        else:
            sys.modules[FETCHER] = hidden

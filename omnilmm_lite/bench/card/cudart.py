"""The few functions of CUDA's runtime library that measuring needs. Source: CUDA runtime API reference.

onnxruntime uses the same library, and both share the card's one primary context.
"""

from __future__ import annotations

import ctypes
from typing import Any

from omnilmm_lite.engine.cuda_support import explain, runtime_library
from omnilmm_lite.engine.device import import_onnxruntime
from omnilmm_lite.errors import OmniLMMError


class CudaRuntime:
    """One card. OmniLMMError, one line, for whatever CUDA refuses."""

    def __init__(self, index: int, library: Any) -> None:
        """`library`: as ctypes loads it."""
        self._index, self._library = index, library

    @classmethod
    def load(cls, index: int) -> CudaRuntime:
        """With the library that onnxruntime's packages bring. Its libraries have to be preloaded."""
        name = runtime_library(import_onnxruntime())
        try:
            return cls(index, ctypes.CDLL(name))
        except OSError:
            raise OmniLMMError(f"{name} can't be loaded: install omnilmm-lite[gpu], which brings it") from None

    def make_context(self) -> None:
        """What CUDA takes on the card before anything is loaded, cuBLAS's and cuDNN's own parts excepted. Comes before
        all else, in the same thread."""
        self._call("cudaSetDevice", ctypes.c_int(self._index))  # since CUDA 12 it makes the context itself
        self._call("cudaFree", None)

    def free_bytes(self) -> int:
        """What could be had of the card now."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size: int) -> ctypes.c_void_p:
        """`size` bytes, until `free`."""
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer

    def free(self, pointer: ctypes.c_void_p) -> None:
        self._call("cudaFree", pointer)

    def _call(self, name: str, *arguments: Any) -> None:
        code = int(getattr(self._library, name)(*arguments))
        if code:
            raise OmniLMMError(f"{name}: {explain(f'CUDA failure {code}')}")

"""What the C library keeps of freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys

import pytest

from omnilmm_lite.machine.memory import return_freed_memory, rss_bytes

PIECE = 10_000  # bytes: such small ones are never mapped one by one
PIECES = 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="another system's C library")
def test_freed_pieces_go_back() -> None:
    """Freed below a piece that is still in use, where glibc keeps them by itself."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    pieces = [ctypes.c_void_p(library.malloc(ctypes.c_size_t(PIECE))) for _ in range(PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE)
    *freed, last = pieces
    for piece in freed:
        library.free(piece)
    kept = rss_bytes()
    return_freed_memory()
    left = rss_bytes()
    library.free(last)
    assert kept is not None
    assert left is not None
    assert kept - left > 0.8 * PIECE * PIECES

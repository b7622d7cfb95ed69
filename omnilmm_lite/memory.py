"""How much memory this process has used."""

from __future__ import annotations

import sys


def peak_rss_bytes() -> int | None:
    """The most resident memory so far, in bytes; None where the system doesn't tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB

"""Bytes as people read them."""

from __future__ import annotations

UNITS = ((1e8, 1e9, "GB"), (1e5, 1e6, "MB"), (1e3, 1e3, "kB"))  # from this size on, what it counts, its name


def shown_size(size: float) -> str:
    """ "23.2 GB", "8.4 MB", "1.2 kB" or "12 bytes": the unit in which the number isn't zero."""
    for least, unit, name in UNITS:
        if size >= least:
            return f"{size / unit:,.1f} {name}"
    return f"{size:.0f} bytes"

"""Processors that bundles aren't made for at all: said instead of computed."""

from __future__ import annotations

import platform
import sys

ARCHITECTURES = ("x86_64", "amd64", "aarch64", "arm64")  # as systems spell them, in small letters


def unsupported_reason() -> str | None:
    """Why nothing can be right here, one line; None where it can.

    x86-64 needs nothing beyond its first processors' instructions: without AVX2 all is right, and slow.
    """
    machine = platform.machine() or "this processor"
    if sys.byteorder != "little":
        return f"{machine} keeps numbers in big-endian order, and bundles hold little-endian ones: use another machine"
    if sys.maxsize <= 2**32:
        return f"this is a 32-bit Python ({machine}), and weights don't fit into its memory: install a 64-bit one"
    if machine.lower() not in ARCHITECTURES:
        return f"{machine} has never been tried, and there is no onnxruntime package for it: use x86-64 or 64-bit Arm"
    return None

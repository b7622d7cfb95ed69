"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, singular: str, plural: str = "") -> str:
    """ "1 problem", "2 problems". `plural`: what stands behind any other number than 1, where an "s" isn't enough."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"

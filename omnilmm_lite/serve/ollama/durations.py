"""`keep_alive`: how long a model stays in memory, as Go writes durations."""

from __future__ import annotations

import math
import re
from typing import Any

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import invalid

# Source: Go's time.ParseDuration.
UNITS_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(rf"(\d+\.?\d*|\.\d+)({'|'.join(UNITS_S)})", re.ASCII)
LONGEST = 64  # characters


def read_keep_alive(value: Any) -> float | None:
    """Seconds; infinity where it is negative, None where nothing was said. ApiError where it is no duration."""
    if value is None:
        return None
    seconds = None
    if isinstance(value, str) and len(value) <= LONGEST:
        seconds = _parsed(value.strip())
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        # Python refuses to make floats of whole numbers of hundreds of digits
        seconds = float(max(-1.0, min(value, 1e18)))
    if seconds is None or math.isnan(seconds):
        said = printable(str(value)[:LONGEST])
        raise invalid(f"keep_alive: {said!r} is no duration; give seconds, or a text such as 5m or -1", "keep_alive")
    return math.inf if seconds < 0 else seconds


def _parsed(text: str) -> float | None:
    """Seconds; None where it is no duration. A bare number is in seconds, which Ollama's own command takes, too."""
    sign = -1.0 if text.startswith("-") else 1.0
    text = text.lstrip("+-")
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return sign * float(text)
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sign * sum(float(number) * UNITS_S[unit] for number, unit in parts)

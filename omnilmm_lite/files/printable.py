"""Text from somebody's file or request, fit for one line of an error."""

from __future__ import annotations

from omnilmm_lite.errors import escaped

LONGEST = 120  # characters, where no other limit is asked for


def printable(text: str, limit: int | None = LONGEST) -> str:
    r"""`text` with Python's escapes (`\n`, `\x1b`, `\udcff`) for every character that can't be shown.

    Longer than `limit` characters, it is cut and ends in three dots. None cuts nothing: a path has to be found again.
    """
    part = text if limit is None else text[: limit + 1]
    line = escaped(part)
    return line if limit is None or len(line) <= limit else line[: limit - 3] + "..."

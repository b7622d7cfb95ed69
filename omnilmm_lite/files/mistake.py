"""A mistake of this program: one line for whoever meets it, and a file with the rest."""

from __future__ import annotations

import tempfile
import traceback

from omnilmm_lite.files.printable import printable


def mistake(error: BaseException) -> str:
    """The line."""
    return f"a mistake of this program ({printable(f'{type(error).__name__}: {error}', 200)}); please report it"


def report_mistake(error: BaseException) -> str:
    """The line, with the name of the file that its traceback has been written to, if there can be one."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="omnilmm-lite-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return mistake(error)
    return f"{mistake(error)}, with {file.name}"

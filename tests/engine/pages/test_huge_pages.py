"""When a command starts itself anew for huge pages, and when it doesn't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnilmm_lite.engine.pages import huge_pages
from omnilmm_lite.engine.pages.huge_pages import SETTING, VARIABLE, with_huge_pages
from tests.paths import ROOT
from tests.systems import linux_alone

pytestmark = linux_alone


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux that waits to be asked, with a C library that can ask."""
    policy = tmp_path / "enabled"
    policy.write_text("always [madvise] never\n", encoding="ascii")
    monkeypatch.setattr(huge_pages, "POLICY", policy)
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    return policy


def test_the_setting_joins_what_is_there() -> None:
    assert with_huge_pages({}) == {VARIABLE: SETTING}
    others = "glibc.malloc.arena_max=2"
    assert with_huge_pages({VARIABLE: others, "HOME": "x"}) == {VARIABLE: f"{others}:{SETTING}", "HOME": "x"}


def test_once_is_enough_and_what_somebody_chose_stays() -> None:
    assert with_huge_pages({VARIABLE: SETTING}) is None
    assert with_huge_pages({VARIABLE: "glibc.malloc.hugetlb=0"}) is None


@pytest.mark.parametrize("policy", ["[always] madvise never", "always madvise [never]", None])
def test_a_system_that_does_not_wait_to_be_asked(system: Path, policy: str | None) -> None:
    if policy is None:
        system.unlink()
    else:
        system.write_text(policy, encoding="ascii")
    assert with_huge_pages({}) is None


@pytest.mark.parametrize("library", ["glibc 2.34", "glibc", "musl 1.2", "", None])
def test_a_library_that_does_not_know_the_setting(monkeypatch: pytest.MonkeyPatch, library: str | None) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: library, raising=False)
    assert with_huge_pages({}) is None


def test_the_command_goes_on_with_its_words_and_its_input(system: Path) -> None:
    """In a process of its own, which says what it got: the second time around, the setting is there."""
    program = (
        "import os, sys; from pathlib import Path; from omnilmm_lite.engine.pages import huge_pages; "
        f"huge_pages.POLICY = Path({str(system)!r}); huge_pages._glibc_can_ask = lambda: True; "
        "huge_pages.start_again_with_huge_pages(); "
        f"print(os.getpid(), os.environ[{VARIABLE!r}], sys.argv[1:], sys.stdin.read())"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    with subprocess.Popen(
        [sys.executable, "-c", program, "a b", "--c"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        out, _ = process.communicate("from a pipe")
    assert out.split(maxsplit=1) == [str(process.pid), f"{SETTING} ['a b', '--c'] from a pipe\n"]

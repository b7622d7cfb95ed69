"""What is known of NVIDIA cards, against a made-up driver."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from omnilmm_lite.machine import card
from omnilmm_lite.machine.card import Card, CardProcess, is_wsl, read_cards, used_bytes
from tests.machine.fake_nvml import GIB, FakeCard, FakeNvml
from tests.systems import not_on_windows

Install = Callable[[FakeNvml], FakeNvml]
OLD = FakeCard("NVIDIA GeForce GTX 1080", 8 * GIB, 0, (6, 1), "GPU-b1")
WSL_VERSION = "Linux version 6.6.87.2-microsoft-standard-WSL2 (root@host)"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(fake: FakeNvml) -> FakeNvml:
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        monkeypatch.delenv(card.VISIBLE, raising=False)
        return fake

    return put


def without_library(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(path))


def test_the_made_up_driver_has_what_the_library_has() -> None:
    for name in dir(FakeNvml):
        if name.lower().startswith("nvml"):
            real = getattr(pynvml, name)
            assert not isinstance(real, int) or real == getattr(FakeNvml, name)
    assert pynvml.NVMLError(12).value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND


def test_everything_about_a_card(install: Install) -> None:
    busy = FakeCard(computing=[(7, 3 * GIB), (8, None)], drawing=[(7, 3 * GIB), (9, 1)])
    nvml = install(FakeNvml([busy], names={7: "/usr/bin/python3.11", 9: "/usr/lib/xorg/Xorg"}))
    found = read_cards()
    processes = (CardProcess(7, "python3.11", 3 * GIB), CardProcess(9, "Xorg", 1), CardProcess(8, "unknown", None))
    assert found.found == (Card(0, busy.name, 24 * GIB, 23 * GIB, (8, 9), processes),)
    assert (found.driver, found.cuda, found.reason, found.is_known) == ("580.65.06", (13, 0), "", True)
    assert nvml.opened == 0  # closed again
    nvml.cuda = 12080
    assert read_cards().cuda == (12, 8)


def test_programs_that_draw_may_not_be_told(install: Install) -> None:
    """WSL tells of none."""
    install(FakeNvml([FakeCard(computing=[(7, None)], drawing=None)]))
    assert read_cards().found[0].processes == (CardProcess(7, "unknown", None),)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            12,
            "no NVIDIA driver was found: if there is a card, install driver 580 or newer, and give it to the container",
        ),
        (9, "the NVIDIA driver is installed but not loaded: restart the machine"),
        (18, "the NVIDIA driver was updated and the old one still runs: restart the machine"),
        (4, "this user may not use the NVIDIA driver: add the user to the card's group, often `video`"),
        (999, "the NVIDIA driver can't be used (its error 999): restart the machine, or install it again"),
    ],
)
def test_no_driver_is_a_reason(install: Install, tmp_path: Path, code: int, said: str) -> None:
    install(FakeNvml(fails=code))
    found = read_cards(tmp_path)
    assert (found.found, found.reason, found.is_known) == ((), said, True)


def test_in_wsl_the_driver_is_windows_own(install: Install, tmp_path: Path) -> None:
    install(FakeNvml(fails=12))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text(WSL_VERSION)
    assert is_wsl(tmp_path)
    found = read_cards(tmp_path)
    assert found.is_wsl
    assert found.reason == "no NVIDIA driver was found: if there is a card, install its driver in Windows, not in WSL"
    (tmp_path / "proc/version").write_text("Linux version 6.8.0-45-generic (buildd@lcy02)")
    assert not is_wsl(tmp_path)


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["A", "B", "C"]),
        ("2,0", ["C", "A"]),
        ("GPU-b2", ["C"]),
        ("GPU-b", []),  # two begin so
        ("1,7,0", ["B"]),  # CUDA C++ programming guide: what comes behind a wrong one isn't seen
        ("-1", []),
        ("", []),
        ("0, 1", ["A", "B"]),
    ],
)
def test_cards_are_those_that_cuda_would_count(
    install: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]
) -> None:
    uuids = {"A": "GPU-a1", "B": "GPU-b1", "C": "GPU-b2"}
    install(FakeNvml([FakeCard(name, uuid=uuid) for name, uuid in uuids.items()]))
    if visible is not None:
        monkeypatch.setenv(card.VISIBLE, visible)
    found = read_cards()
    assert [each.name for each in found.found] == names
    assert [each.index for each in found.found] == list(range(len(names)))
    if not names:
        assert found.reason == f"no NVIDIA card may be used: CUDA_VISIBLE_DEVICES is {visible!r}; unset it"


@pytest.mark.parametrize(
    ("visible", "shares", "said"),
    [
        ("MIG-c7384736-a75d-5afc-978f-d2f1294409fd", False, "parts of a card, whose memory isn't looked at"),
        (None, True, "the NVIDIA driver doesn't tell how much memory its card has"),
    ],
)
def test_cards_that_cannot_be_asked_are_unknown_and_not_missing(
    install: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None, shares: bool, said: str
) -> None:
    """CUDA may use them nonetheless: a session will say."""
    install(FakeNvml([FakeCard(shares_memory=shares)]))
    if visible is not None:
        monkeypatch.setenv(card.VISIBLE, visible)
    found = read_cards()
    assert (found.found, found.is_known, found.driver, found.cuda) == ((), False, "580.65.06", (13, 0))
    assert said in found.reason


def test_a_driver_without_a_card(install: Install) -> None:
    install(FakeNvml([]))
    assert read_cards().reason.startswith("the NVIDIA driver is there, but it finds no card: ")


def test_memory_in_use_is_asked_for_each_time(install: Install) -> None:
    nvml = install(FakeNvml([OLD, FakeCard(used=5)]))
    assert used_bytes(1) == 5
    nvml.cards[1].used = 6
    assert used_bytes(1) == 6
    with pytest.raises(OSError, match="card 2"):
        used_bytes(2)
    nvml.fails = 999
    with pytest.raises(OSError, match="error 999"):
        used_bytes(1)


# ---- without nvidia-ml-py ----


def test_without_library_and_tool_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_library(monkeypatch, tmp_path)
    found = read_cards()
    assert (found.found, found.is_known, found.reason) == ((), False, "no NVIDIA driver was found")
    with pytest.raises(OSError, match=r"install omnilmm-lite\[gpu\]"):
        used_bytes(0)


@not_on_windows
@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("echo 'GPU-a, NVIDIA Card, one, 24564, 24000, 580.65.06, 8.9'; echo 'GPU-b, B, 8192, 8000, 580.65.06, 6.1'",
         ["NVIDIA Card, one", "B"]),
        ("echo no devices were found; exit 6", []),
        ("echo 'GPU-a, NVIDIA Card, [N/A], 24000, 580.65.06, 8.9'", []),
        ("exit 0", []),
    ],
)  # fmt: skip
def test_without_library_the_drivers_tool_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, names: list[str]
) -> None:
    without_library(monkeypatch, tmp_path)
    monkeypatch.delenv(card.VISIBLE, raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    found = read_cards()
    assert [each.name for each in found.found] == names
    assert found.is_known is bool(names)
    if names:
        assert (found.found[0].total, found.found[0].free) == (24564 << 20, 24000 << 20)
        assert (found.found[1].capability, found.driver, found.cuda) == ((6, 1), "580.65.06", None)
        monkeypatch.setenv(card.VISIBLE, "1")  # the tool itself tells of all
        assert [(each.index, each.name) for each in read_cards().found] == [(0, "B")]
        monkeypatch.setenv(card.VISIBLE, "")
        assert read_cards().reason == "no NVIDIA card may be used: CUDA_VISIBLE_DEVICES is ''; unset it"

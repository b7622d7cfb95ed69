"""NVIDIA cards, as their driver tells of them: through nvidia-ml-py, else through the driver's own tool.

Cards are counted as CUDA counts them with CUDA_DEVICE_ORDER=PCI_BUS_ID, which is the driver's order, and of them those
that CUDA_VISIBLE_DEVICES leaves. Sources: NVML API reference; CUDA C++ programming guide, "CUDA environment variables".
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from omnilmm_lite.machine.system_file import ROOT, read_text

ORDER, VISIBLE = "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"
PCI_ORDER = "PCI_BUS_ID"
PART = "MIG-"  # how names of parts of a card begin
TOOL_QUERY = "uuid,name,memory.total,memory.free,driver_version,compute_cap"
TOOL_SECONDS = 10  # a driver that hangs must not hang us
MIB = 1 << 20


@dataclass(frozen=True)
class CardProcess:
    """A program that has memory on a card. `used`: bytes, None where the driver doesn't tell (Windows, WSL)."""

    pid: int
    name: str
    used: int | None


@dataclass(frozen=True)
class Card:
    """One card. `index`: as CUDA counts; sizes in bytes; `capability`: (8, 9) for an RTX 40."""

    index: int
    name: str
    total: int
    free: int
    capability: tuple[int, int]
    processes: tuple[CardProcess, ...] = ()


@dataclass(frozen=True)
class Cards:
    """All cards of the machine. `reason`: why there are none, one line; empty where there are some.

    `is_known`: False where there may be cards that nothing here can ask about. `cuda`: the newest version that the
    driver supports; None where it doesn't say.
    """

    found: tuple[Card, ...] = ()
    driver: str | None = None
    cuda: tuple[int, int] | None = None
    reason: str = ""
    is_known: bool = True
    is_wsl: bool = False

    def at(self, index: int) -> Card | None:
        return next((card for card in self.found if card.index == index), None)


def is_wsl(root: Path = ROOT) -> bool:
    """Whether this Linux runs inside Windows, where the driver is Windows' own."""
    return "microsoft" in read_text(root / "proc/version").lower()


def read_cards(root: Path = ROOT) -> Cards:
    """The cards as they are now; takes some milliseconds, and no memory of the cards."""
    wsl = is_wsl(root)
    try:
        import pynvml
    except ImportError:
        return _by_tool(wsl)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Cards(reason=_no_driver(error.value, wsl, pynvml), is_wsl=wsl)
    try:
        return _read(pynvml, wsl)
    except pynvml.NVMLError as error:
        return Cards(reason=f"the NVIDIA driver doesn't answer ({error}): restart the machine", is_wsl=wsl)
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def used_bytes(index: int) -> int:
    """What is in use of a card now, by all programs together. OSError where nothing tells it.

    Unlike `read_cards` it leaves the driver's library open, to be asked hundreds of times a second.
    """
    try:
        import pynvml
    except ImportError:
        raise OSError("only nvidia-ml-py tells what a card has in use: install omnilmm-lite[gpu]") from None
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(_visible(pynvml)[index]).used)
    except (pynvml.NVMLError, IndexError) as error:
        raise OSError(f"the NVIDIA driver doesn't tell what card {index} has in use: {error}") from error


def _read(pynvml: Any, wsl: bool) -> Cards:
    version = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())  # 13000 is 13.0
    driver, cuda = str(pynvml.nvmlSystemGetDriverVersion()), (version // 1000, version % 1000 // 10)
    unknown = Cards((), driver, cuda, _parts_chosen(), is_known=False, is_wsl=wsl)
    if unknown.reason:
        return unknown
    try:
        cards = tuple(_card(pynvml, index, handle) for index, handle in enumerate(_visible(pynvml)))
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        # cards that share the machine's memory, as GB10 does
        return replace(unknown, reason="the NVIDIA driver doesn't tell how much memory its card has")
    return Cards(cards, driver, cuda, "" if cards else _none_visible(), is_wsl=wsl)


def _card(pynvml: Any, index: int, handle: Any) -> Card:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    processes = tuple({each.pid: each for each in _processes(pynvml, handle)}.values())
    name = str(pynvml.nvmlDeviceGetName(handle))
    return Card(index, name, int(memory.total), int(memory.free), (major, minor), processes)


def _processes(pynvml: Any, handle: Any) -> Iterator[CardProcess]:
    """Programs that draw and programs that compute; one that does both is told twice."""
    for ask in (pynvml.nvmlDeviceGetGraphicsRunningProcesses, pynvml.nvmlDeviceGetComputeRunningProcesses):
        with contextlib.suppress(pynvml.NVMLError):  # not supported: WSL, some systems' drivers
            for process in ask(handle):
                name = "unknown"
                with contextlib.suppress(pynvml.NVMLError):
                    name = PurePath(str(pynvml.nvmlSystemGetProcessName(process.pid))).name or name
                yield CardProcess(int(process.pid), name, process.usedGpuMemory)


def _visible(pynvml: Any) -> list[Any]:
    """Handles of the cards that CUDA would count, in its order."""
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    if VISIBLE not in os.environ:
        return handles
    return [handles[number] for number in _chosen([str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles])]


def _chosen(names: Sequence[str]) -> list[int]:
    """Which of the cards of these names, "GPU-8932f937-...", CUDA would count, in its order."""
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return list(range(len(names)))
    found: list[int] = []
    for entry in (part.strip() for part in chosen.split(",")):
        if re.fullmatch(r"[0-9]{1,9}", entry):
            numbers = [int(entry)] if int(entry) < len(names) else []
        else:  # the beginning of a name such as GPU-8932f937 is enough
            numbers = [index for index, name in enumerate(names) if entry and name.startswith(entry)]
        if len(numbers) != 1:  # CUDA leaves out whatever comes behind a wrong entry, too
            break
        found.append(numbers[0])
    return found


def _parts_chosen() -> str:
    """What to say where CUDA is to use parts of cards, whose memory nothing here asks for; else an empty string."""
    chosen = os.environ.get(VISIBLE, "")
    if not any(entry.strip().startswith(PART) for entry in chosen.split(",")):
        return ""
    return f"{VISIBLE} is {chosen!r}: parts of a card, whose memory isn't looked at"


def _none_visible() -> str:
    if (chosen := os.environ.get(VISIBLE)) is not None:
        return f"no NVIDIA card may be used: {VISIBLE} is {chosen!r}; unset it"
    return (
        "the NVIDIA driver is there, but it finds no card: see that the card is plugged in, or given to the container"
    )


def _no_driver(code: int, wsl: bool, pynvml: Any) -> str:
    if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        what = "its driver in Windows, not in WSL" if wsl else "driver 580 or newer, and give it to the container"
        return f"no NVIDIA driver was found: if there is a card, install {what}"
    if code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "the NVIDIA driver is installed but not loaded: restart the machine"
    if code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "the NVIDIA driver was updated and the old one still runs: restart the machine"
    if code == pynvml.NVML_ERROR_NO_PERMISSION:
        return "this user may not use the NVIDIA driver: add the user to the card's group, often `video`"
    return f"the NVIDIA driver can't be used (its error {code}): restart the machine, or install it again"


# ---- without nvidia-ml-py, which only the extra `gpu` brings ----


def _by_tool(wsl: bool) -> Cards:
    """What the driver's own tool says; nothing is known where it is missing."""
    unknown = Cards(reason=_parts_chosen() or "no NVIDIA driver was found", is_known=False, is_wsl=wsl)
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return unknown
    command = [tool, f"--query-gpu={TOOL_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return unknown
    row = re.compile(r"(\S+), (.+), (\d+), (\d+), ([\d.]+), (\d+)\.(\d+)")
    rows = [match.groups() if (match := row.fullmatch(line.strip())) else () for line in done.stdout.splitlines()]
    if done.returncode != 0 or not rows or not all(rows) or _parts_chosen():
        return unknown
    cards = []
    for index, number in enumerate(_chosen([each[0] for each in rows])):
        _, name, total, free, _, major, minor = rows[number]
        cards.append(Card(index, name, int(total) * MIB, int(free) * MIB, (int(major), int(minor))))
    return Cards(tuple(cards), rows[0][4], None, "" if cards else _none_visible(), is_wsl=wsl)

"""What CUDA needs before a session can be made on a card, said in one line where it isn't there.

Looked at beforehand, since onnxruntime itself only logs what it misses and goes on with the CPU. The bounds are those
of CUDA 13: its release notes and CUDA C++ programming guide, "Compute capabilities".
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.placement import DeviceId
from omnilmm_lite.machine.card import MIB, ORDER, PCI_ORDER, Card, Cards

CUDA_MAJOR = 13  # of released builds; a build that says another one is believed
OLDEST_DRIVER = {12: 525, 13: 580}  # by CUDA's major version
OLDEST_CAPABILITY = (7, 5)  # Turing, the RTX 20: the oldest that released builds have code for
GPU_EXTRA = "install omnilmm-lite[gpu]"

# What CUDA's own error numbers mean for whoever runs this. Source: CUDA runtime API, cudaError.
ADVICE = "end other programs on it, or give a smaller --context"
FAILURES = {
    2: f"the card's memory is full: {ADVICE}",
    35: "the driver is missing or too old: install driver 580 or newer",
    46: "the card is in use by another program that wants it alone: end that, or see `nvidia-smi -q -d COMPUTE`",
    100: "the driver shows no card: see that it is plugged in, or given to the container",
    101: "there is no such card: `omnilmm-lite doctor` lists those that are there",
    209: "the card is too old, or too new, for this onnxruntime: `omnilmm-lite doctor` says which it is",
    999: "the driver is in disorder, often after sleep: restart the machine",
}


def missing_for_cuda(ort: Any, cards: Cards) -> str:
    """Why no card can be used, or an empty string. Loads the libraries of CUDA and cuDNN from Python packages."""
    if cards.is_known and not cards.found:
        return cards.reason
    if Device.CUDA.provider not in ort.get_available_providers():
        return f"this onnxruntime ({ort.__version__}) is built without CUDA: uninstall onnxruntime, then {GPU_EXTRA}"
    return _old_driver(ort, cards) or _missing_library(ort)


def unfit_card(ort: Any, card: Card) -> str:
    """Why this card can't be used where others might, or an empty string."""
    if card.capability >= OLDEST_CAPABILITY:
        return ""
    found, oldest = (".".join(map(str, each)) for each in (card.capability, OLDEST_CAPABILITY))
    return (
        f"{DeviceId(Device.CUDA, card.index)} ({card.name}) has compute capability {found}, and onnxruntime-gpu "
        f"{ort.__version__} needs {oldest}, an RTX 20 or newer: take another card, or --device cpu"
    )


def name_cards(cards: Sequence[Card]) -> str:
    """ "cuda:0 is NVIDIA A, cuda:1 is NVIDIA B"."""
    return ", ".join(f"{DeviceId(Device.CUDA, card.index)} is {card.name}" for card in cards)


def explain(text: str) -> str:
    """A line on what to do where onnxruntime's words tell of an error of CUDA's own; else the same words."""
    match = re.search(r"CUDA (?:failure|error) (\d+)", text)
    if match and (meaning := FAILURES.get(int(match[1]))):
        return f"CUDA error {match[1]}: {meaning}"
    if match := re.search(r"Failed to allocate memory for requested buffer of size (\d+)", text):
        return f"the memory is full, {int(match[1]) / MIB:,.0f} MiB more were asked for: {ADVICE}"
    return text


def count_cards_as_the_driver() -> None:
    """Lets CUDA number the cards in the driver's order, unless the user has asked for another; else it puts the fastest
    first. Has to be done before CUDA is first used."""
    os.environ.setdefault(ORDER, PCI_ORDER)


def unloadable_library(ort: Any) -> str | None:
    """The library without which onnxruntime's own for CUDA can't be loaded, by the system's message.

    Only once onnxruntime has tried it itself: loaded by others before, that library finds no onnxruntime to work for.
    """
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        match = re.match(r"(\S+?): cannot open shared object file", str(error))
        return Path(match[1]).name if match else None
    return None


def runtime_library(ort: Any) -> str:
    """The name of CUDA's runtime library, as the system's loader finds it once it is preloaded."""
    return _libraries(_cuda_major(ort))[0]


def _old_driver(ort: Any, cards: Cards) -> str:
    major = _cuda_major(ort)
    oldest = OLDEST_DRIVER.get(major, OLDEST_DRIVER[CUDA_MAJOR])
    if cards.driver is None:
        return ""
    if cards.cuda is not None:
        is_old, supports = cards.cuda[0] < major, f" supports CUDA {cards.cuda[0]}.{cards.cuda[1]}"
    else:
        is_old, supports = int(cards.driver.partition(".")[0]) < oldest, ""
    if not is_old:
        return ""
    where = " in Windows, whose driver WSL uses" if cards.is_wsl else ""
    return (
        f"the driver {cards.driver}{supports or ' is too old'}, and onnxruntime-gpu {ort.__version__} needs CUDA "
        f"{major}: install driver {oldest} or newer{where}"
    )


def _missing_library(ort: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it doesn't find, and we say it below
        ort.preload_dlls()  # those of the nvidia-* packages; they are found by name from then on
    for library in _libraries(_cuda_major(ort)):
        try:
            ctypes.CDLL(library)
        except OSError:
            return (
                f"onnxruntime-gpu {ort.__version__} needs {library}, which can't be loaded: {GPU_EXTRA}, which brings "
                f"CUDA {_cuda_major(ort)} and cuDNN 9 as packages"
            )
    return ""


def _libraries(major: int) -> tuple[str, ...]:
    """What onnxruntime's library for CUDA is linked against, and cuDNN, which it loads when a convolution comes.

    Source: the dynamic section of onnxruntime-gpu 1.31.1 for Linux; for Windows the names that it preloads.
    """
    libraries = f"libcudart.so.{major} libcublasLt.so.{major} libcublas.so.{major} libcurand.so.10 libcudnn.so.9"
    if sys.platform == "win32":
        libraries = f"cudart64_{major}.dll cublasLt64_{major}.dll cublas64_{major}.dll cudnn64_9.dll"
    return tuple(libraries.split())


def _cuda_major(ort: Any) -> int:
    match = re.match(r"\d+", str(getattr(ort, "cuda_version", None) or ""))
    return int(match[0]) if match else CUDA_MAJOR

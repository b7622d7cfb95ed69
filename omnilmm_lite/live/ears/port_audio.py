"""Microphones and loudspeakers of this machine, by PortAudio: what opening either has in common."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.ears.sound import BLOCK
from omnilmm_lite.machine.extras import Extra, missing_package

# PortAudio's error codes
_INVALID_RATE = -9997
_UNAVAILABLE = -9985


class Direction(Enum):
    """Under these names PortAudio has them."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True)
class DeviceKind:
    """What the user calls it."""

    direction: Direction
    noun: str  # "microphone"
    option: str  # "--microphone"
    extra: Extra  # that brings the package
    latency_s: float  # of sound that the device holds back
    instead: str  # what to do where there is none


@dataclass(frozen=True)
class DeviceStream:
    """A stream of one channel of 16-bit samples, started if it is an input. Closed by whoever has it."""

    stream: Any  # sounddevice.RawInputStream or RawOutputStream
    name: str  # of the device
    rate: int  # Hz: the one asked for, or else the device's own
    error: type[Exception]  # what its methods raise


def open_stream(kind: DeviceKind, device: str | None, rate: int) -> DeviceStream:
    """The device whose name has `device` in it (or that has its number), or the system's own choice. Takes a moment.

    InputError: no PortAudio, no such device, or it is busy.
    """
    with _quiet():
        package = _package(kind)
        info = _find(package, kind, device)
        rate = _fitting_rate(package, kind, info, rate)
        is_input = kind.direction is Direction.INPUT
        open_one = package.RawInputStream if is_input else package.RawOutputStream
        try:
            stream = open_one(
                samplerate=rate,
                blocksize=BLOCK,
                device=info["index"],
                channels=1,
                dtype="int16",
                latency=kind.latency_s,
            )
            if is_input:  # an output begins with its first sound
                stream.start()
        except package.PortAudioError as error:
            raise _refused(kind, info["name"], error) from None
    return DeviceStream(stream, info["name"], rate, package.PortAudioError)


def device_gone(kind: DeviceKind, name: str) -> OmniLMMError:
    """The error for a device that gives or takes no more."""
    return OmniLMMError(f"the {kind.noun} {name} is gone: connect it again, and start anew")


def _package(kind: DeviceKind) -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise missing_package(f"a {kind.noun}", error, kind.extra) from None
    except OSError:
        raise InputError(
            f"a {kind.noun} needs PortAudio, which this system lacks: install it (Debian: apt install libportaudio2)"
        ) from None
    return sounddevice


def _find(package: Any, kind: DeviceKind, device: str | None) -> dict[str, Any]:
    wanted = int(device) if device is not None and re.fullmatch(r"[0-9]{1,9}", device) else device
    try:
        found: dict[str, Any] = package.query_devices(wanted, kind.direction.value)
    except (ValueError, package.PortAudioError):
        names = _names(package, kind)
        if not names:
            raise InputError(f"there is no {kind.noun}: connect one, or {kind.instead}") from None
        known = ", ".join(f"{number} ({name})" for number, name in names)
        where = f"{kind.option} {device}" if device is not None else kind.option
        raise InputError(f"{where}: there is no such {kind.noun}; there are {known}") from None
    return found


def _names(package: Any, kind: DeviceKind) -> list[tuple[int, str]]:
    channels = f"max_{kind.direction.value}_channels"
    return [(each["index"], each["name"]) for each in package.query_devices() if each[channels] > 0]


def _fitting_rate(package: Any, kind: DeviceKind, info: dict[str, Any], rate: int) -> int:
    check = package.check_input_settings if kind.direction is Direction.INPUT else package.check_output_settings
    try:
        check(device=info["index"], channels=1, dtype="int16", samplerate=rate)
    except package.PortAudioError as error:
        if _code(error) == _INVALID_RATE:
            return int(info["default_samplerate"])
        raise _refused(kind, info["name"], error) from None
    return rate


def _refused(kind: DeviceKind, name: str, error: Exception) -> InputError:
    if _code(error) == _UNAVAILABLE:
        return InputError(
            f"the {kind.noun} {name} is busy, or may not be used: close what uses it, or allow it for this program"
        )
    return InputError(f"the {kind.noun} {name} can't be opened: choose another with {kind.option}")


def _code(error: Exception) -> int | None:
    return error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else None


def _quiet() -> contextlib.AbstractContextManager[None]:
    """A block without what ALSA writes to stderr about every kind of device that it doesn't find."""
    return _without_stderr() if sys.platform == "linux" else contextlib.nullcontext()


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """The whole process's: what is written there meanwhile is lost."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

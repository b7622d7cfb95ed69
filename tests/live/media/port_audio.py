"""PortAudio's package with one microphone and one loudspeaker, neither of which is there."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class PortAudioError(Exception):
    """As sounddevice's: a text and PortAudio's code."""


class Devices(ModuleType, Generic[S]):
    """sounddevice's part that is used. `open_stream`: makes a stream of its options."""

    PortAudioError = PortAudioError

    def __init__(self, rates: set[int], open_stream: Callable[[dict[str, Any]], S]) -> None:
        super().__init__("sounddevice")
        self.devices = [
            {"name": "USB Audio", "index": 0, "max_input_channels": 1, "max_output_channels": 0},
            {"name": "Speakers", "index": 1, "max_input_channels": 0, "max_output_channels": 2},
        ]
        self.rates = rates  # Hz; the highest is the devices' own
        self.stream: S | None = None  # the last that was opened
        self.refusal: Exception | None = None
        self._open_stream = open_stream

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        for each in self.devices:
            if each[f"max_{kind}_channels"] and (device is None or device in (each["index"], each["name"])):
                return {**each, "default_samplerate": float(max(self.rates))}
        raise PortAudioError("Error querying device -1") if device is None else ValueError(f"No device {device}")

    def check_input_settings(self, *, samplerate: int, **_: Any) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate", -9997)

    check_output_settings = check_input_settings

    def RawInputStream(self, **options: Any) -> S:
        if self.refusal is not None:
            raise self.refusal
        self.stream = self._open_stream(options)
        return self.stream

    RawOutputStream = RawInputStream

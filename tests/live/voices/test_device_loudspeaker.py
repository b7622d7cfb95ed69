"""Sound to a device: PortAudio's package is a stand-in here."""

from __future__ import annotations

import sys
import threading
from typing import Any

import anyio
import numpy as np
import pytest

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.ears.sound import Pcm
from omnilmm_lite.live.voices.device_loudspeaker import DeviceLoudspeaker
from omnilmm_lite.live.voices.opening import open_loudspeaker
from tests.live.media.port_audio import Devices, PortAudioError

RATE = 22_050
SAID: Pcm = np.arange(RATE // 2).astype(np.int16)  # half a second
PATIENCE_S = 20.0


class Stream:
    """Plays what it is given when it is given it; what it is asked to do is in `calls`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.stopped = True
        self.calls: list[str] = []
        self.played: list[Pcm] = []
        self.is_free = threading.Event()
        self.is_free.set()

    def start(self) -> None:
        assert self.stopped
        self.stopped = False
        self.calls.append("start")

    def stop(self) -> None:
        self.stopped = True
        self.calls.append("stop")

    def abort(self) -> None:
        self.stopped = True
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")

    def write(self, data: bytes) -> None:
        assert not self.stopped
        assert self.is_free.wait(PATIENCE_S)
        self.played.append(np.frombuffer(data, np.int16))

    @property
    def heard(self) -> Pcm:
        return np.concatenate(self.played)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices[Stream]:
    pretence = Devices({RATE, 48_000}, Stream)
    monkeypatch.setitem(sys.modules, "sounddevice", pretence)
    return pretence


def test_what_is_played_is_heard_whole_and_drained(devices: Devices[Stream]) -> None:
    async def play() -> None:
        async with DeviceLoudspeaker(RATE) as loudspeaker:
            assert loudspeaker.name == "loudspeaker: Speakers"
            await loudspeaker.play(SAID)
            await loudspeaker.drain()
            await loudspeaker.drain()  # nothing is left
            await loudspeaker.play(SAID)

    anyio.run(play)
    assert devices.stream is not None
    assert devices.stream.calls == ["start", "stop", "start", "abort", "close"]
    assert np.array_equal(devices.stream.heard, np.concatenate([SAID, SAID]))
    assert max(map(len, devices.stream.played)) <= 0.02 * RATE  # an interruption waits for no more


def test_a_device_with_another_rate_is_given_its_own(devices: Devices[Stream]) -> None:
    devices.rates = {48_000}

    async def play() -> None:
        async with DeviceLoudspeaker(RATE) as loudspeaker:
            await loudspeaker.play(SAID)

    anyio.run(play)
    assert devices.stream is not None and devices.stream.options["samplerate"] == 48_000
    heard = devices.stream.heard
    assert len(heard) == pytest.approx(len(SAID) * 48_000 / RATE, abs=64)
    np.testing.assert_allclose(np.diff(heard[100:-100].astype(np.float64)), RATE / 48_000, atol=1.1)


def test_interrupted_it_takes_back_what_is_not_heard_yet(devices: Devices[Stream]) -> None:
    async def interrupt() -> None:
        with anyio.fail_after(PATIENCE_S):
            async with DeviceLoudspeaker(RATE) as loudspeaker:
                stream = devices.stream
                assert stream is not None
                stream.is_free.clear()
                async with anyio.create_task_group() as group:
                    group.start_soon(loudspeaker.play, SAID)
                    await anyio.sleep(0.05)
                    group.cancel_scope.cancel()
                    stream.is_free.set()
                assert stream.calls[-1] == "abort"
                assert len(stream.played) <= 1

    anyio.run(interrupt)


def test_a_device_that_goes_away_is_one_line(devices: Devices[Stream], monkeypatch: pytest.MonkeyPatch) -> None:
    def write(stream: Stream, data: bytes) -> None:
        raise PortAudioError("Stream is stopped", -9983)

    monkeypatch.setattr(Stream, "write", write)

    async def play() -> None:
        async with DeviceLoudspeaker(RATE) as loudspeaker:
            with pytest.raises(OmniLMMError, match=r"^the loudspeaker Speakers is gone: connect it again, and start"):
                await loudspeaker.play(SAID)

    anyio.run(play)


def test_a_device_that_there_is_not_is_one_line(devices: Devices[Stream]) -> None:
    async def enter() -> None:
        async with open_loudspeaker(RATE, "Headphones"):
            pass

    line = r"^--loudspeaker Headphones: there is no such loudspeaker; there are 1 \(Speakers\)$"
    with pytest.raises(InputError, match=line):
        anyio.run(enter)

"""Sound from a file, from somebody who pushes it, and from a device: PortAudio's package is a stand-in here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.ears.microphone import Microphone
from omnilmm_lite.live.ears.microphones.audio_file import AudioFile
from omnilmm_lite.live.ears.microphones.device import DeviceMicrophone
from omnilmm_lite.live.ears.microphones.pushed import PushedMicrophone
from omnilmm_lite.live.ears.opening import open_microphone
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm, Sound
from tests.live.media.port_audio import Devices, PortAudioError
from tests.live.media.spoken import resampled, spoken, write_wav

SAID = spoken("What is this?")
QUIET = SAID // 2  # with room for what a filter adds


def taken(microphone: Microphone, most: int = 1_000_000) -> list[Sound]:
    """What is heard until the sound ends, or `most` sounds."""

    async def take() -> list[Sound]:
        sounds: list[Sound] = []
        async with microphone:
            async for sound in microphone:
                sounds.append(sound)
                if len(sounds) == most:
                    break
        return sounds

    return anyio.run(take)


def heard(microphone: Microphone, most: int = 1_000_000) -> Pcm:
    return np.concatenate([np.zeros(0, np.int16), *(sound.pcm for sound in taken(microphone, most))])


def difference(one: Pcm, other: Pcm) -> float:
    """How much of `other` differs, 0 to 1; what a filter does at the two ends left out."""
    length = min(len(one), len(other))
    assert abs(len(one) - len(other)) < 64
    a, b = one[100 : length - 100].astype(np.float64), other[100 : length - 100].astype(np.float64)
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def test_a_wav_of_the_same_rate_is_heard_sample_by_sample(tmp_path: Path) -> None:
    sounds = taken(AudioFile(write_wav(tmp_path / "said.wav", SAID), is_paced=False))
    assert np.array_equal(np.concatenate([sound.pcm for sound in sounds]), SAID)
    assert all(len(sound.pcm) == 512 for sound in sounds[:-1])
    assert [sound.end_s for sound in sounds] == sorted(sound.end_s for sound in sounds)


@pytest.mark.parametrize("rate", [48_000, 44_100, 8_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_another_rate_and_two_channels_are_heard_as_one(rate: int, channels: int, tmp_path: Path) -> None:
    moved = resampled(QUIET, SAMPLE_RATE, rate)
    path = write_wav(tmp_path / "said.wav", np.repeat(moved[:, None], channels, axis=1), rate, channels)
    assert difference(heard(AudioFile(path, is_paced=False)), resampled(moved, rate)) < 0.05


def test_a_paced_file_takes_as_long_as_it_was_spoken(tmp_path: Path) -> None:
    sounds = taken(AudioFile(write_wav(tmp_path / "said.wav", SAID[:8000])))
    assert sounds[-1].end_s - sounds[0].end_s == pytest.approx((8000 - 512) / SAMPLE_RATE)


def test_a_file_that_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("nothing")
    with pytest.raises(InputError, match=r"text\.wav: no audio file that can be read"):
        heard(AudioFile(tmp_path / "text.wav"))
    with pytest.raises(InputError, match=r"nowhere\.wav: there is no such file"):
        heard(AudioFile(tmp_path / "nowhere.wav"))
    with pytest.raises(InputError, match="it has no sound"):
        heard(AudioFile(Path(__file__).parents[3] / "examples" / "pictures" / "cat.png"))


def test_a_file_that_breaks_off_is_heard_up_to_there(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "said.wav", SAID)
    path.write_bytes(path.read_bytes()[:10_044])
    assert np.array_equal(heard(AudioFile(path, is_paced=False)), SAID[:5000])


def test_a_name_is_a_file_if_there_is_one(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "said.wav", SAID)
    assert isinstance(open_microphone(str(path)), AudioFile)
    assert isinstance(open_microphone(str(tmp_path / "nowhere.wav")), AudioFile)  # whose error says that
    assert isinstance(open_microphone("USB"), DeviceMicrophone)
    assert isinstance(open_microphone(), DeviceMicrophone)


@given(st.lists(st.integers(0, 3000), max_size=10))
def test_what_is_pushed_is_heard(sizes: list[int]) -> None:
    async def push() -> None:
        async with PushedMicrophone("browser") as microphone:
            for number, size in enumerate(sizes):
                microphone.push(np.full(size, number, np.int16), SAMPLE_RATE)
            microphone.close()
            pushed = [int(sample) for number, size in enumerate(sizes) for sample in [number] * size]
            assert [int(sample) async for sound in microphone for sample in sound.pcm] == pushed

    anyio.run(push)


def test_what_is_pushed_at_a_browsers_rate_is_heard_at_ours() -> None:
    at_48k = resampled(QUIET, SAMPLE_RATE, 48_000)
    microphone = PushedMicrophone("browser")
    for begin in range(0, len(at_48k), 2048):
        microphone.push(at_48k[begin : begin + 2048], 48_000)
    microphone.close()
    assert difference(heard(microphone), resampled(at_48k, 48_000)) < 0.05


def test_sound_that_nobody_takes_is_dropped_and_counted() -> None:
    microphone = PushedMicrophone("browser")
    for number in range(15):
        microphone.push(np.full(SAMPLE_RATE, number, np.int16), SAMPLE_RATE)
    microphone.close()
    assert microphone.dropped_s == 5.0
    assert [int(sound.pcm[0]) for sound in taken(microphone)] == list(range(5, 15))


def test_who_waits_hears_what_is_pushed_then() -> None:
    async def listen() -> list[int]:
        found = []
        async with PushedMicrophone("browser") as microphone, anyio.create_task_group() as group:

            async def push() -> None:
                for number in range(3):
                    await anyio.lowlevel.checkpoint()
                    microphone.push(np.full(10, number, np.int16), SAMPLE_RATE)
                microphone.close()

            group.start_soon(push)
            async for sound in microphone:
                found.append(int(sound.pcm[0]))
        return found

    assert anyio.run(listen) == [0, 1, 2]


@pytest.mark.parametrize("rate", [0, -1, 4_000, 1_000_000])
def test_a_rate_that_no_microphone_has_is_refused(rate: int) -> None:
    with pytest.raises(InputError, match="give 8000 to 384000 Hz"):
        PushedMicrophone("browser").push(SAID, rate)


class Stream:
    """Counts up."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.position = 0
        self.is_closed = False

    def start(self) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    def read(self, count: int) -> tuple[bytes, bool]:
        self.position += count
        return np.arange(self.position - count, self.position, dtype=np.int16).tobytes(), False


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices[Stream]:
    pretence = Devices({SAMPLE_RATE, 44_100}, Stream)
    monkeypatch.setitem(sys.modules, "sounddevice", pretence)
    return pretence


def test_a_device_is_read_as_it_comes_and_closed(devices: Devices[Stream]) -> None:
    microphone = DeviceMicrophone()
    assert np.array_equal(heard(microphone, most=3), np.arange(3 * 512))
    assert microphone.name == "microphone: USB Audio"
    assert devices.stream is not None and devices.stream.is_closed
    assert devices.stream.options["samplerate"] == SAMPLE_RATE


def test_a_device_with_another_rate_is_resampled(devices: Devices[Stream]) -> None:
    devices.rates = {44_100}
    pcm = heard(DeviceMicrophone("0"), most=20)
    assert devices.stream is not None and devices.stream.options["samplerate"] == 44_100
    assert len(pcm) == pytest.approx(20 * 512 * SAMPLE_RATE / 44_100, abs=64)
    middle = pcm[100:-100].astype(np.float64)
    np.testing.assert_allclose(np.diff(middle), 44_100 / SAMPLE_RATE, atol=1.1)


def _no_devices(devices: Devices[Stream]) -> None:
    devices.devices = []


def _busy(devices: Devices[Stream]) -> None:
    devices.refusal = PortAudioError("Device unavailable", -9985)


def _strange(devices: Devices[Stream]) -> None:
    devices.refusal = PortAudioError("Unanticipated host error", -9999, (8, 1, "text\nof the driver"))


@pytest.mark.parametrize(
    ("device", "prepare", "line"),
    [
        (None, _no_devices, "there is no microphone: connect one, or give a file with --microphone"),
        ("Webcam", _no_devices, "there is no microphone: "),
        ("Webcam", None, r"--microphone Webcam: there is no such microphone; there are 0 \(USB Audio\)$"),
        ("Speakers", None, "--microphone Speakers: there is no such microphone"),
        ("7", None, "--microphone 7: there is no such microphone"),
        ("7" * 5000, None, "7: there is no such microphone"),
        (None, _busy, "the microphone USB Audio is busy, or may not be used: "),
        (None, _strange, "^the microphone USB Audio can't be opened: choose another with --microphone$"),
    ],
)
def test_a_device_that_cannot_be_opened_is_one_line(
    device: str | None, prepare: Callable[[Devices[Stream]], None] | None, line: str, devices: Devices[Stream]
) -> None:
    if prepare is not None:
        prepare(devices)
    with pytest.raises(InputError, match=line):
        heard(DeviceMicrophone(device))


def test_a_device_that_goes_away_is_one_line(devices: Devices[Stream], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(stream: Stream, count: int) -> None:
        raise PortAudioError("Stream is stopped", -9983)

    monkeypatch.setattr(Stream, "read", read)
    with pytest.raises(OmniLMMError, match=r"^the microphone USB Audio is gone: connect it again, and start anew$"):
        heard(DeviceMicrophone())


def test_the_package_and_its_library_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InputError, match=r"^a microphone needs the package sounddevice: run .*\[ears\]"):
        heard(DeviceMicrophone())

    class NoLibrary:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.setattr(sys, "meta_path", [NoLibrary(), *sys.meta_path])
    with pytest.raises(InputError, match=r"^a microphone needs PortAudio, which this system lacks: install it"):
        heard(DeviceMicrophone())

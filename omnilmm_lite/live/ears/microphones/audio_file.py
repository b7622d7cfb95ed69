"""An audio file heard as if it were spoken into a microphone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio import to_thread

from omnilmm_lite.errors import InputError, escaped
from omnilmm_lite.live.ears.microphones.resampling import FORMAT, LAYOUT, joined
from omnilmm_lite.live.ears.sound import BLOCK, SAMPLE_RATE, Pcm, Sound
from omnilmm_lite.machine.extras import Extra, missing_package

if TYPE_CHECKING:
    from av.container import InputContainer

LONGEST_S = 4 * 3600.0


class AudioFile:
    """Any rate, any number of channels, any format that FFmpeg reads; also the sound of a video."""

    def __init__(self, path: Path, *, is_paced: bool = True) -> None:
        """`is_paced`: as fast as it was spoken; else as fast as it is taken."""
        self.name = escaped(path.name)
        self._path = path
        self._is_paced = is_paced
        self._container: InputContainer | None = None

    async def __aenter__(self) -> Self:
        self._container = await to_thread.run_sync(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._container is not None:
            self._container.close()

    async def __aiter__(self) -> AsyncIterator[Sound]:
        began_s, heard = time.monotonic(), 0
        for pcm in self._blocks():
            heard += len(pcm)
            due_s = began_s + heard / SAMPLE_RATE
            await anyio.sleep(max(due_s - time.monotonic(), 0) if self._is_paced else 0)
            yield Sound(pcm, due_s if self._is_paced else time.monotonic())

    def _open(self) -> InputContainer:
        try:
            import av
        except ImportError as error:
            raise missing_package("a file as a microphone", error, Extra.LIVE) from None
        where = f"--microphone {self._path}"
        try:
            container = av.open(str(self._path))
        except FileNotFoundError:
            raise InputError(f"{where}: there is no such file") from None
        except (av.FFmpegError, OSError):
            raise InputError(f"{where}: no audio file that can be read; give a .wav, .flac, .ogg or .mp3") from None
        if not container.streams.audio:
            container.close()
            raise InputError(f"{where}: it has no sound; give a .wav, .flac, .ogg or .mp3")
        return container

    def _blocks(self) -> Iterator[Pcm]:
        """(BLOCK,) each, and what is left. A file that is broken further on ends there."""
        import av

        assert self._container is not None
        resampler = av.AudioResampler(format=FORMAT, layout=LAYOUT, rate=SAMPLE_RATE, frame_size=BLOCK)
        try:
            for frame in self._container.decode(audio=0):
                yield from (joined([each]) for each in resampler.resample(frame))
        except av.FFmpegError:
            pass
        yield from (joined([each]) for each in resampler.resample(None))

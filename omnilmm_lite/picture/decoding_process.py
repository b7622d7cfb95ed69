"""Strangers' pictures, decoded in a process of their own: it has little memory and little time, and can be ended.

A decoder in C can't be stopped, and what it took stays with the process; a crash would take the server along.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import IO

import numpy as np
import numpy.typing as npt

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.decoding_worker import CPU_SECONDS, HASH_BYTES, REPLY, REQUEST, Reply

WALL_SECONDS = 120.0  # where the machine is busy; and on Windows, where nothing counts a process's seconds
COMMAND = [sys.executable, "-m", "omnilmm_lite.picture.decoding_worker"]


class DecodingProcess:
    """Prepares one picture at a time. The process is started at the first, and anew after one that it died of."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, file: bytes, config: VisionConfig) -> tuple[str, npt.NDArray[np.float32]]:
        """The pixel hash of the picture in `file` (see `pixel_hash`), and the tower's input, float32 (1, 3, image_size,
        image_size).

        InputError where `load_image` refuses it, where it takes too long or the decoder breaks down; OmniLMMError where
        the memory isn't enough, and where `kill` was called meanwhile.
        """
        process = self._process = self._running()
        late = threading.Timer(WALL_SECONDS, process.kill)
        late.start()
        try:
            kind, body = _ask(process, file, config.image_size)
        except (OSError, EOFError):  # it has died
            process.kill()
            raise _death(process) from None
        finally:
            late.cancel()
        if kind is Reply.REFUSED:
            raise InputError(body.decode())
        if kind is Reply.FAILED:
            raise OmniLMMError(body.decode())
        pixels = np.frombuffer(body, np.float32, offset=HASH_BYTES)
        return body[:HASH_BYTES].decode(), pixels.reshape(1, 3, config.image_size, config.image_size)

    def start(self) -> None:
        """Has the process ready before the first picture comes."""
        self._process = self._running()

    def kill(self) -> None:
        """Ends the process, from any thread: `prepare` then fails."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Ends the process for good."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        # one thread: OpenBLAS would take address space for each core, and nothing here uses it
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        # a session of its own, else a Ctrl-C at the keyboard would end it with a traceback
        return subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )


def _ask(process: subprocess.Popen[bytes], file: bytes, side: int) -> tuple[Reply, bytes]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(REQUEST.pack(side, len(file)))
    process.stdin.write(file)
    process.stdin.flush()
    kind, length = REPLY.unpack(_read(process.stdout, REPLY.size))
    return Reply(kind), _read(process.stdout, length)


def _read(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _death(process: subprocess.Popen[bytes]) -> OmniLMMError:
    """Why it died, for whoever sent the picture."""
    code = process.wait()
    if sys.platform == "win32":
        was_ended = code == 1  # by `kill`; nothing limits its time or memory there
    else:
        if code == -signal.SIGXCPU:
            return InputError(f"picture: decoding it takes more than {CPU_SECONDS} s; save it anew, or smaller")
        was_ended = code == -signal.SIGKILL
    if was_ended:
        return OmniLMMError("picture: its decoding was ended, for lack of memory or of time; make it smaller")
    return InputError("picture: the decoder broke down on it; get another copy, or save it anew")

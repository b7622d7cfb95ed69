"""Pictures decoded in a process of their own: it has little memory and little time, and can be ended.

A decoder in C can't be stopped, and what it took stays with the process; a crash would take this process along. What
its libraries print is heard by nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

import numpy as np

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.decoding_worker import CPU_SECONDS, PREPARED, REPLY, REQUEST, Reply
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage

WALL_SECONDS = 120.0  # where the machine is busy; and on Windows, where nothing counts a process's seconds
MAX_REMARKS = 1000  # then no further one is made
# -P: else modules would be looked for in the folder where the server was started, before all others
COMMAND = [sys.executable, "-P", "-m", "omnilmm_lite.picture.decoding_worker"]


class DecodingEnded(OmniLMMError):
    """The process was ended from outside: by the clock, or by the system for memory that somebody else may have had."""


class DecodingProcess:
    """Prepares one picture at a time. The process is started at the first, and anew after one that it died of."""

    def __init__(
        self, *, ignore_colour_profile: bool = False, on_remark: Callable[[str], None] = lambda line: None
    ) -> None:
        """`ignore_colour_profile`: see `load_image`. `on_remark` gets a line, once a label, where something of a
        picture had to be ignored."""
        self._ignore_colour_profile = ignore_colour_profile
        self._on_remark = on_remark
        self._remarked: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended = False  # it is to get no further picture, whether it has died already or not
        self._is_closed = False
        self._lock = threading.Lock()

    def prepare(self, file: PictureFile, config: VisionConfig) -> PreparedImage:
        """What `omnilmm_lite.picture.prepared_image.prepare` would give here.

        InputError where that refuses the picture, where it takes too much time or memory, or the decoder breaks down;
        DecodingEnded where something else ends the process; another OmniLMMError where the machine's memory isn't
        enough, no process can be started, and where `close` was called meanwhile.
        """
        process = self._running()
        late = threading.Timer(WALL_SECONDS, self._end, [process])
        late.daemon = True
        late.start()
        try:
            kind, body = _ask(process, file, config.image_size, self._ignore_colour_profile)
        except (OSError, EOFError, ValueError):  # it has died; ValueError: and was closed
            self._end(process)
            raise _death(process, file.label) from None
        finally:
            late.cancel()
            if self._is_ended:
                _clear_away(process)
        if kind is Reply.REFUSED:
            raise InputError(body.decode())
        if kind is Reply.FAILED:
            raise OmniLMMError(body.decode())
        image = _image(body, config.image_size)
        if image.remark and file.label not in self._remarked and len(self._remarked) < MAX_REMARKS:
            self._remarked.add(file.label)
            self._on_remark(f"{file.label}: {image.remark}")
        return image

    def prepare_with_retry(self, file: PictureFile, config: VisionConfig) -> PreparedImage:
        """`prepare`, once more where the process was ended from outside. Raises what that does, and InputError where it
        is ended again: another run would get no further."""
        with contextlib.suppress(DecodingEnded):
            return self.prepare(file, config)
        try:
            return self.prepare(file, config)
        except DecodingEnded as error:
            raise InputError(str(error)) from None

    def start(self) -> None:
        """Has the process ready before the first picture comes."""
        self._running()

    def kill(self) -> None:
        """Ends the process, from any thread: `prepare` then fails."""
        if (process := self._process) is not None:
            self._end(process)

    def close(self) -> None:
        """Ends the process for good, from any thread: no other is started."""
        with self._lock:
            self._is_closed = True
        if (process := self._process) is not None:
            self._end(process)
            _clear_away(process)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise OmniLMMError("picture: it isn't decoded any more, as this program ends")
            if self._process is not None and (self._is_ended or self._process.poll() is not None):
                _clear_away(self._process)
                self._process = None
            if self._process is None:
                self._process, self._is_ended = _start(), False
            return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Where it had just finished a picture, it would die of the next one only."""
        with self._lock:
            self._is_ended |= self._process is process
        process.kill()


def _start() -> subprocess.Popen[bytes]:
    # one thread: OpenBLAS would take address space for each core, and nothing here uses it
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    # a Ctrl-C at the keyboard is the parent's alone
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        return subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            creationflags=flags,
        )
    except OSError as error:
        why = error.strerror or error
        raise OmniLMMError(f"picture: the process that decodes can't be started ({why}); end other programs") from error


def _clear_away(process: subprocess.Popen[bytes]) -> None:
    """Leaves neither a zombie nor an open pipe of a process that has died, or is about to."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was still to be written is of no use
                pipe.close()


def _image(body: bytes, side: int) -> PreparedImage:
    width, height, digest, length = PREPARED.unpack_from(body)
    pixels = np.frombuffer(body, np.float32, length // 4, PREPARED.size)
    more = json.loads(body[PREPARED.size + length :])
    return PreparedImage((width, height), digest.decode(), pixels.reshape(1, 3, side, side), **more)


def _ask(
    process: subprocess.Popen[bytes], file: PictureFile, side: int, ignore_colour_profile: bool
) -> tuple[Reply, bytes]:
    assert process.stdin is not None and process.stdout is not None
    label = file.label.encode()
    process.stdin.write(REQUEST.pack(side, len(label), len(file.data), ignore_colour_profile) + label)
    process.stdin.write(file.data)
    process.stdin.flush()
    kind, length = REPLY.unpack(_read(process.stdout, REPLY.size))
    return Reply(kind), _read(process.stdout, length)


def _read(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _death(process: subprocess.Popen[bytes], label: str) -> OmniLMMError:
    """Why it died, for whoever sent the picture."""
    code = process.wait()
    if sys.platform == "win32":
        was_ended = code == 1  # by `kill`; nothing limits its time or memory there
    else:
        if code == -signal.SIGXCPU:
            return InputError(f"{label}: decoding it takes more than {CPU_SECONDS} s; save it anew, or smaller")
        was_ended = code in (-signal.SIGKILL, -signal.SIGTERM)
    if was_ended:
        return DecodingEnded(f"{label}: its decoding was ended, for lack of memory or of time; make it smaller")
    return InputError(f"{label}: the decoder broke down on it; get another copy, or save it anew")

"""The helper process of `omnilmm_lite.picture.decoding_process`: pictures' files in, the tower's input out.

A request on standard input: the side of the square and the file's length, then the file. A reply on what was standard
output: what became of it and the length of what follows, then a picture's hash and pixels, or a line on what is wrong.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import sys
from enum import IntEnum
from typing import BinaryIO

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.memory import return_freed_memory
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import load_image, pixel_hash

REQUEST = struct.Struct("<IQ")
REPLY = struct.Struct("<BQ")
HASH_BYTES = 64
MEMORY_BYTES = 3 * 2**30  # of addresses; the largest picture in the costliest format, 32-bit grey, takes 2.8 GB
CPU_SECONDS = 20  # a picture; that one takes 9


class Reply(IntEnum):
    PREPARED = 0
    REFUSED = 1  # InputError
    FAILED = 2  # OmniLMMError: the machine is at fault


def main() -> None:
    replies = _private_output()
    _limit_memory()
    while head := sys.stdin.buffer.read(REQUEST.size):
        side, length = REQUEST.unpack(head)
        file = sys.stdin.buffer.read(length)
        if len(file) < length:  # the parent has gone
            return
        _limit_cpu()
        kind, body = _prepared(file, side)
        del file
        replies.write(REPLY.pack(kind, len(body)) + body)
        replies.flush()
        return_freed_memory()


def _prepared(file: bytes, side: int) -> tuple[Reply, bytes]:
    try:
        image = load_image(file)
        pixels = preprocess(image, dataclasses.replace(VisionConfig(), image_size=side))
        return Reply.PREPARED, pixel_hash(image).encode() + pixels.tobytes()
    except InputError as error:
        return Reply.REFUSED, str(error).encode()
    except OmniLMMError as error:
        return Reply.FAILED, str(error).encode()
    except MemoryError:
        return Reply.FAILED, b"picture: the memory is not enough to decode it; make it smaller"


def _private_output() -> BinaryIO:
    """Standard output for replies alone: decoders' libraries print what they think of a file."""
    private = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    return private


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = min(limit for limit in (MEMORY_BYTES, soft, hard) if limit != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _limit_cpu() -> None:
    """Of all that the process has used and this picture may; the system ends it there."""
    if sys.platform != "win32":
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        most = int(usage.ru_utime + usage.ru_stime) + 1 + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()

"""The helper process of `omnilmm_lite.picture.decoding_process`: pictures' files in, the tower's input out.

A request on standard input: the side of the square, two lengths and whether a colour profile is to be ignored, then the
file's label and the file. A reply on what was standard output: what became of it and the length of what follows, then a
picture's size, hash, pixels and, as JSON, what else is known of it; or a line on what is wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from typing import BinaryIO

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.mistake import report_mistake
from omnilmm_lite.machine.memory import return_freed_memory
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage, prepare
from omnilmm_lite.picture.reading import OutOfMemory

REQUEST = struct.Struct("<IIQ?")
REPLY = struct.Struct("<BQ")
PREPARED = struct.Struct("<II64sQ")  # width, height, pixel hash, bytes of the pixels
MEMORY_BYTES = 2 * 2**30  # of addresses; the costliest picture and its file take 1.4 GB
CPU_SECONDS = 20  # a picture; the costliest takes 2


class Reply(IntEnum):
    PREPARED = 0
    REFUSED = 1  # InputError
    FAILED = 2  # OmniLMMError: the machine is at fault, or we are


def main() -> None:
    replies = _private_output()
    is_our_limit = _limit_memory()
    requests = sys.stdin.buffer
    while head := requests.read(REQUEST.size):
        side, label_length, length, ignore_colour_profile = REQUEST.unpack(head)
        label, data = requests.read(label_length).decode(), requests.read(length)
        if len(data) < length:  # the parent has gone
            return
        _limit_cpu()
        with _ended_with_the_parent():
            prepare_it = partial(
                prepare,
                PictureFile(data, label),
                dataclasses.replace(VisionConfig(), image_size=side),
                ignore_colour_profile=ignore_colour_profile,
            )
            kind, body = _prepared(prepare_it, label, is_our_limit=is_our_limit)
            del prepare_it
        del data
        replies.write(REPLY.pack(kind, len(body)) + body)
        replies.flush()
        return_freed_memory()


def _prepared(prepare_it: Callable[[], PreparedImage], label: str, *, is_our_limit: bool) -> tuple[Reply, bytes]:
    try:
        image = prepare_it()
        head = PREPARED.pack(*image.size, image.pixel_hash.encode(), image.pixels.nbytes)
        more = json.dumps({"remark": image.remark, "exif": dict(image.exif)}).encode()
        return Reply.PREPARED, head + image.pixels.tobytes() + more
    except (OutOfMemory, MemoryError):
        if is_our_limit:
            limit = f"takes more than {MEMORY_BYTES / 2**30:.0f} GiB of memory"
            return Reply.REFUSED, f"{label}: decoding it {limit}; make it smaller, or save it anew".encode()
        return Reply.FAILED, f"{label}: the memory is not enough to decode it; make it smaller".encode()
    except InputError as error:
        return Reply.REFUSED, str(error).encode()
    except OmniLMMError as error:
        return Reply.FAILED, str(error).encode()
    except Exception as error:
        return Reply.FAILED, report_mistake(error).encode()


@contextlib.contextmanager
def _ended_with_the_parent() -> Iterator[None]:
    """In the block, in which nothing more comes on standard input, its end ends this process. On Linux; elsewhere a
    parent that is killed leaves it to decode a picture for nobody."""
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(0, fcntl.F_GETFL)
        fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)
        if select.select([0], [], [], 0)[0]:  # it came to its end before anybody looked
            sys.exit()
        yield
        fcntl.fcntl(0, fcntl.F_SETFL, flags)
    else:
        yield


def _private_output() -> BinaryIO:
    """Standard output for replies alone: decoders' libraries print what they think of a file."""
    private = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    return private


def _limit_memory() -> bool:
    """Whether the limit is this module's, rather than a lower one of the system's that holds anyway."""
    most = 0
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = min(limit for limit in (MEMORY_BYTES, soft, hard) if limit != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    return most == MEMORY_BYTES


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

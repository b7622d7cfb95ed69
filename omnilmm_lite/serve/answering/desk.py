"""Where requests are taken in and checked, before they may wait for the model."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from starlette.requests import Request

from omnilmm_lite.engine.interrupt import Interrupt, interruptible
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.jobs import Task
from omnilmm_lite.serve.request.answer_request import AnswerRequest
from omnilmm_lite.serve.request_checker import RequestChecker

MAX_BODY_BYTES = 32 * 2**20
JSON = "application/json"
BODY_S = 60.0  # for a request to arrive
FETCHED_AT_ONCE = CHECKED_AT_ONCE = 4

# A request's body -> what it asks, and its task without the picture; ApiError says what is wrong with it.
Check: TypeAlias = Callable[[bytes], tuple[AnswerRequest, Task]]


@dataclass(frozen=True)
class Desk:
    """What every route needs."""

    engine: Engine
    checker: RequestChecker
    started_at: int = dataclasses.field(default_factory=lambda: int(time.time()))
    # A few threads, as a schema may take seconds to read.
    _checking: Executor = dataclasses.field(default_factory=lambda: ThreadPoolExecutor(CHECKED_AT_ONCE, "check"))
    # One thread, as there is one process that decodes pictures, and a decoded one may fill a quarter of a gigabyte.
    _decoding: Executor = dataclasses.field(default_factory=lambda: ThreadPoolExecutor(1, "decode"))
    _fetching: Executor = dataclasses.field(default_factory=lambda: ThreadPoolExecutor(FETCHED_AT_ONCE, "fetch"))

    async def checked(self, check: Check, body: bytes) -> tuple[AnswerRequest, Task]:
        """The request, and its task. Nobody's check waits for somebody else's picture. ApiError as `check` raises it,
        and where the picture can't be had."""
        run = asyncio.get_running_loop().run_in_executor
        request, task = await run(self._checking, check, body)
        if request.image_url is not None:
            file = await run(self._fetching, self.checker.picture_file, request.image_url)
            task = with_image(task, await self.prepared(file))
        return request, task

    async def prepared(self, file: bytes, side: int | None = None) -> PreparedImage:
        """What the checker's `prepare` gives. Ends with its client: who hangs up doesn't keep the others waiting for a
        picture that takes long."""
        interrupt = Interrupt()

        def prepare() -> PreparedImage:
            with interruptible(interrupt):
                return self.checker.prepare(file, side)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoding, prepare)
        finally:
            interrupt.set()


def with_image(task: Task, image: PreparedImage) -> Task:
    """The task, and all that follow it, about a picture."""
    more = tuple(dataclasses.replace(each, image=image) for each in task.more)
    return dataclasses.replace(task, image=image, more=more)


async def whole_body(request: Request, *kinds: str, limit: int = MAX_BODY_BYTES) -> bytes:
    """A request's body. ApiError where it has more than `limit` bytes, comes too slowly, or is of none of these
    `kinds` (JSON, where there are none)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kinds = kinds or (JSON,)
    if kind not in kinds:
        what = "JSON" if JSON in kinds else "what this path takes"
        wanted = JSON if JSON in kinds else kinds[0]
        raise ApiError(415, f"the body must be {what}; send Content-Type: {wanted}", code="unsupported_media_type")
    size = f"{limit // 2**20} MiB" if limit >= 2**20 else f"{limit // 2**10} KiB"
    too_large = ApiError(413, f"the request has more than {size}, the limit; send a smaller "
                              f"{'picture' if limit >= 2**20 else 'text'}", code="request_too_large",
                         headers={"Connection": "close"})  # fmt: skip
    if int(request.headers.get("content-length") or 0) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise ApiError(
            408, f"the request didn't arrive within {BODY_S:.0f} s", headers={"Connection": "close"}
        ) from None
    return bytes(body)

"""What a client does, one kind a function; each says what was wrong, or nothing."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.soak.exchange import Address, Response, exchanged, get, parsed, post, received, reset
from benchmarks.soak.questions import BadPicture, Question

# A client's way: what to say of what came, and the status (0: none was waited for). The text is empty where it is
# right.
Result: TypeAlias = tuple[int, str]
ENDED = "its decoding was ended"  # said where the process that decoded was killed
PAGES = ("/", "/health", "/v1/models", "/page/main.js", "/v1/nothing")
LEAVES_AFTER_S = 0.4  # at most
SLOW_BYTES, SLOW_S = 64, 0.01


@dataclass(frozen=True)
class World:
    """What clients ask, and of whom."""

    address: Address
    questions: list[Question]
    bad_pictures: list[BadPicture]
    bad_requests: list[bytes]


Client: TypeAlias = Callable[[World, random.Random], Result]


def asks(world: World, rng: random.Random) -> Result:
    question = rng.choice(world.questions)
    return _judged(question, exchanged(world.address, post(world.address, question.body)))


def streams(world: World, rng: random.Random) -> Result:
    question = rng.choice(world.questions)
    return _judged_stream(question, exchanged(world.address, post(world.address, _streamed(question))))


def sends_no_more(world: World, rng: random.Random) -> Result:
    """Closes its half, and waits for the answer."""
    question, stream = rng.choice(world.questions), rng.random() < 0.5
    with world.address.connect() as sock:
        sock.sendall(post(world.address, _streamed(question) if stream else question.body))
        sock.shutdown(socket.SHUT_WR)
        response = parsed(received(sock))
    return _judged_stream(question, response) if stream else _judged(question, response)


def reads_slowly(world: World, rng: random.Random) -> Result:
    question, data = rng.choice(world.questions), bytearray()
    with world.address.connect(receive_buffer=2048) as sock:
        sock.sendall(post(world.address, _streamed(question)))
        while piece := sock.recv(SLOW_BYTES):
            data += piece
            time.sleep(SLOW_S)
    return _judged_stream(question, parsed(bytes(data)))


def leaves(world: World, rng: random.Random) -> Result:
    """At once, while it waits, or in the middle of its answer; with a word or without."""
    question, stream = rng.choice(world.questions), rng.random() < 0.7
    request = post(world.address, _streamed(question) if stream else question.body)
    sock = world.address.connect()
    match rng.randrange(4):
        case 0:  # before all of it is sent
            sock.sendall(request[: rng.randrange(len(request))])
        case 1:
            sock.sendall(request)
        case 2:
            sock.sendall(request)
            time.sleep(rng.random() * LEAVES_AFTER_S)
        case _:
            sock.sendall(request)
            sock.recv(rng.randrange(1, 2000))
    reset(sock) if rng.random() < 0.5 else sock.close()
    return 0, ""


def sends_a_bad_picture(world: World, rng: random.Random) -> Result:
    bad = rng.choice(world.bad_pictures)
    response = exchanged(world.address, post(world.address, bad.body))
    if was_refused_in_time(response) or _decoder_was_killed(response):
        return response.status, ""
    code = response.json().get("error", {}).get("code")
    right = response.status == 400 and code == bad.code and response.whole
    return response.status, "" if right else f"a bad picture got {response.status} {code}: {response.error}"


def sends_nonsense(world: World, rng: random.Random) -> Result:
    body = rng.choice(world.bad_requests)
    response = exchanged(world.address, post(world.address, body))
    if _decoder_was_killed(response):  # some have a picture
        return response.status, ""
    right = 400 <= response.status < 500 and response.error and response.whole
    return response.status, "" if right else f"nonsense got {response.status}: {response.error or response.body[:80]!r}"


def looks_around(world: World, rng: random.Random) -> Result:
    path = rng.choice(PAGES)
    response = exchanged(world.address, get(world.address, path))
    expected = 404 if path == PAGES[-1] else 200
    right = response.status == expected and response.whole
    return response.status, "" if right else f"{path} got {response.status}"


def is_idle(world: World, rng: random.Random) -> Result:
    """Holds a connection, with a part of a request or none, until it has enough or is told so."""
    start = get(world.address, "/health")
    with world.address.connect() as sock:
        sock.sendall(start[: rng.randrange(len(start) - 2)])
        sock.settimeout(rng.random() * 20)
        try:
            response = parsed(received(sock))
        except TimeoutError:
            return 0, ""
    return response.status, "" if response.status == 408 else f"an idle connection got {response.status}"


# ---- what is right ----


def _streamed(question: Question) -> dict[str, object]:
    return {**question.body, "stream": True, "stream_options": {"include_usage": True}}


def was_refused_in_time(response: Response) -> bool:
    """The queue was full, which is said with how long to wait."""
    return response.status == 429 and "retry-after" in response.headers and bool(response.error)


def _decoder_was_killed(response: Response) -> bool:
    return response.status == 500 and ENDED in response.error


def _judged(question: Question, response: Response) -> Result:
    status = response.status
    if was_refused_in_time(response) or (question.has_picture and _decoder_was_killed(response)):
        return status, ""
    if status != 200 or not response.whole:
        return status, f"a question got {status}, whole: {response.whole}: {response.error}"
    choice = response.json()["choices"][0]
    found = choice["message"]["content"], choice["finish_reason"]
    return status, _compared(question, *found)


def _judged_stream(question: Question, response: Response) -> Result:
    if response.status != 200:  # refused before it began
        return _judged(question, response)
    if not response.whole or not response.body.rstrip().endswith(b"data: [DONE]"):
        return 200, f"a stream broke off, whole: {response.whole}, after {response.body[-160:]!r}"
    events = response.events()
    if failed := [event for event in events if "error" in event]:
        return 200, f"a stream failed: {failed[0]['error'].get('message')}"
    choices = [event["choices"][0] for event in events if event["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    reason = next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), "none")
    if sum("usage" in event for event in events) != 1:
        return 200, "a stream has not one usage"
    return 200, _compared(question, text, reason)


def _compared(question: Question, text: str, reason: str) -> str:
    if (text, reason) == (question.text, question.reason):
        return ""
    return f"wrong: {text!r} ({reason}), not {question.text!r} ({question.reason})"


# Each kind, and how often it is taken.
KINDS: dict[str, tuple[Client, int]] = {
    "asks": (asks, 20),
    "streams": (streams, 20),
    "sends no more, waits": (sends_no_more, 8),
    "reads slowly": (reads_slowly, 3),
    "leaves": (leaves, 15),
    "bad picture": (sends_a_bad_picture, 10),
    "bad request": (sends_nonsense, 10),
    "other pages": (looks_around, 6),
    "idle": (is_idle, 1),
}

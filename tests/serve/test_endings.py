"""How answers and the server itself end: refusals that arrive, a signal that comes twice, mistakes of ours."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import Message, Receive, Scope, Send

from omnilmm_lite.serve import log
from omnilmm_lite.serve.access import Access
from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.guard import Guard
from omnilmm_lite.serve.log import JsonFormatter
from tests.paths import ROOT
from tests.serve.serving import CHAT, PICTURES, data_url, question
from tests.serve.stuck_server import ENDS
from tests.systems import HEED_INTERRUPTS, PYTHON

WAIT_S = 60.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="there, programs are asked")


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ApiError(429, "the queue is full")


def guarded(pieces: list[Message]) -> list[str]:
    """What happened, in order, when a request of these pieces was refused before it was read."""
    happened: list[str] = []
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": CHAT, "headers": [(b"host", b"127.0.0.1")]}

    async def receive() -> Message:
        happened.append("received")
        return pieces.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            happened.append("more to come" if message.get("more_body") else "ended")

    asyncio.run(Guard(refusing, Access())(scope, receive, send))
    return happened


def test_a_refusal_takes_the_rest_of_the_request_before_the_connection_is_closed() -> None:
    """A connection that is closed while something comes is reset, and the refusal may be lost."""
    piece = {"type": "http.request", "body": b"x", "more_body": True}
    last = {"type": "http.request", "body": b"x", "more_body": False}
    assert guarded([piece, piece, last]) == ["more to come", *["received"] * 3, "ended"]
    assert guarded([piece, {"type": "http.disconnect"}]) == ["more to come", *["received"] * 2, "ended"]


def test_an_endless_request_is_not_taken_for_ever() -> None:
    large = {"type": "http.request", "body": bytes(2**25), "more_body": True}
    assert guarded([large] * 100) == ["more to come", *["received"] * 2, "ended"]


def test_a_mistake_is_a_line_and_a_file() -> None:
    formatter = JsonFormatter()
    try:
        raise ZeroDivisionError("so it\nwas")
    except ZeroDivisionError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "request failed", (), (type(error), error, None))
    line = json.loads(formatter.format(record))
    assert (line["event"], line["mistake"].count("\n")) == ("request failed", 0)
    said, _, name = line["mistake"].partition(", with ")
    assert said == r"a mistake of this program (ZeroDivisionError: so it\nwas); please report it"
    path = Path(name)
    assert 'raise ZeroDivisionError("so it\\nwas")' in path.read_text(encoding="utf-8")
    path.unlink()


def test_mistakes_that_come_again_and_again_do_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_FILES", 0)
    error = ZeroDivisionError("again")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "request failed", (), (type(error), error, None))
    assert ", with " not in json.loads(JsonFormatter().format(record))["mistake"]


def test_a_thread_that_fails_is_a_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back afterwards
    monkeypatch.setattr(log, "MOST_FILES", 0)
    log.set_up()
    thread = threading.Thread(target=lambda: 1 // 0)
    thread.start()
    thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in json.loads(line)["mistake"]


@posix
@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_request_that_is_ended_with_the_server_is_told_so(
    signals: tuple[signal.Signals, ...], tmp_path: Path
) -> None:
    """Its picture is being decoded, and would be for ever."""
    stuck = tmp_path / "stuck.png"
    stuck.write_bytes((PICTURES / "cat.png").read_bytes() + ENDS)
    command = [*PYTHON, "-m", "tests.serve.stuck_server", "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **(HEED_INTERRUPTS | pipes)) as server:
        assert server.stdout is not None
        url = urlsplit(server.stdout.readline().strip())
        body = json.dumps(question("What is this?", data_url(stuck))).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((url.hostname, url.port), timeout=WAIT_S) as sock:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            time.sleep(1.0)  # until it is at it; if not yet, it is refused as well
            for each in signals:
                server.send_signal(each)
                time.sleep(0.3)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        _, errors = server.communicate(timeout=WAIT_S)
    assert answer.startswith(b"HTTP/1.1 503 ") and b'"shutting_down"' in answer
    assert "Traceback" not in errors and "mistake" not in errors
    assert server.returncode in (130, -signal.SIGINT, -signal.SIGTERM)

"""What a connection may do, by bare sockets: slow, half closed, gone, too many, deaf."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.paths import ROOT
from tests.serve.hasty_server import A_CLIENT
from tests.serve.serving import CHAT, PICTURES, client, data_url, question
from tests.serve.stuck_server import ENDS
from tests.systems import PYTHON

WAIT_S = 30.0
LONG = "Tell me about shapes."
# An answer of a minute at least, twice as long as is waited for: without the last bracket it can't end.
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 3000}
FOR_A_MINUTE = {
    "max_tokens": 1900,
    "response_format": {"type": "json_schema", "json_schema": {"name": "numbers", "schema": ENDLESS}},
}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with client(module="tests.serve.hasty_server") as http:
        yield http


def connect(http: httpx.Client) -> socket.socket:
    url = urlsplit(str(http.base_url))
    return socket.create_connection((url.hostname, url.port), timeout=WAIT_S)


def request(http: httpx.Client, **fields: Any) -> bytes:
    body = json.dumps(question(LONG, **fields)).encode()
    host = urlsplit(str(http.base_url)).netloc
    head = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def received(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def wait_until(http: httpx.Client, holds: Callable[[dict[str, int]], bool]) -> None:
    """Until it holds of what the server says of its queue."""
    deadline = time.monotonic() + WAIT_S
    while not holds(http.get("/health").json()["queue"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b"])
def test_headers_that_never_come_are_not_waited_for(http: httpx.Client, start: bytes) -> None:
    with connect(http) as sock:
        sock.sendall(start)
        answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"headers didn't arrive within" in answer


def test_bytes_that_trickle_win_no_time(http: httpx.Client) -> None:
    with connect(http) as sock, pytest.raises(OSError):
        sock.sendall(b"GET /health HTTP/1.1\r\n")
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            sock.sendall(b"X: y\r\n")
            time.sleep(0.05)
        pytest.fail("it was listened to all the time")


def test_the_second_request_of_a_client_is_bounded_too(http: httpx.Client) -> None:
    host = urlsplit(str(http.base_url)).netloc
    whole = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with connect(http) as sock:
        sock.sendall(whole)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(1.0)  # longer than headers may take: nothing of them is there yet
        sock.sendall(whole[:20])
        answer = received(sock)
    assert b"HTTP/1.1 408 " in answer


@pytest.mark.parametrize("stream", [False, True])
def test_who_sends_no_more_gets_the_answer(http: httpx.Client, stream: bool) -> None:
    expected = http.post(CHAT, json=question(LONG)).json()["choices"][0]["message"]["content"]
    with connect(http) as sock:
        sock.sendall(request(http, stream=stream))
        sock.shutdown(socket.SHUT_WR)
        answer = received(sock)
    if not stream:
        assert answer.startswith(b"HTTP/1.1 102 ")
        assert json.loads(answer.split(b"\r\n\r\n")[-1])["choices"][0]["message"]["content"] == expected
        return
    data = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith(b"data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in data) == expected
    assert b"data: [DONE]" in answer and b": still here" in answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_who_has_gone_is_not_answered(http: httpx.Client, stream: bool, reset: bool) -> None:
    with connect(http) as sock:
        sock.sendall(request(http, stream=stream, **FOR_A_MINUTE))
        wait_until(http, lambda queue: queue["running"] == 1)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(http, lambda queue: queue["running"] == 0)


def test_a_decoder_is_ended_with_its_client(tmp_path: Path) -> None:
    """Else nobody's picture would be decoded any more. Who sends none doesn't wait for it."""
    good, stuck = PICTURES / "cat.png", tmp_path / "stuck.png"
    stuck.write_bytes(good.read_bytes() + ENDS)
    with client(module="tests.serve.stuck_server") as http:
        for _ in range(2):
            with connect(http) as sock:
                sock.sendall(request(http, url=data_url(stuck)))
                time.sleep(0.3)
                assert http.post(CHAT, json=question(LONG)).status_code == 200
            assert http.post(CHAT, json=question(LONG, data_url(good))).status_code == 200


def test_more_connections_than_a_client_may_have(http: httpx.Client) -> None:
    http.close()  # its own don't count
    with ExitStack() as stack, client(module="tests.serve.hasty_server") as http:
        held = [stack.enter_context(connect(http)) for _ in range(A_CLIENT)]
        with connect(http) as one_more:
            answer = received(one_more)
        assert answer.startswith(b"HTTP/1.1 429 ") and b"too_many_connections" in answer and b"etry-" in answer
        held.pop().close()
        assert http.get("/health").status_code == 200


def test_who_reads_nothing_is_dropped() -> None:
    """A page's file over and over, none of which is taken, until the buffers are full."""
    with client(module="tests.serve.hasty_server") as http, connect(http) as sock:
        host = urlsplit(str(http.base_url)).netloc
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ask = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        with pytest.raises(OSError):
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                sock.sendall(ask * 20)
                time.sleep(0.01)
            pytest.fail("its answers are still kept")


@pytest.mark.skipif(sys.platform == "win32", reason="there, programs are asked")
def test_sigterm_lets_those_who_wait_have_their_answers() -> None:
    """systemd and Docker ask so; Ctrl-C, which is somebody at the keyboard, turns them away."""
    command = [*PYTHON, "-m", "tests.serve.slow_server", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        with ThreadPoolExecutor(4) as threads, httpx.Client(base_url=address, timeout=WAIT_S, trust_env=False) as http:
            asked = [threads.submit(http.post, CHAT, json=question(LONG)) for _ in range(4)]
            wait_until(http, lambda queue: queue["waiting"] == 3)
            server.terminate()
            answers = [each.result() for each in asked]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert server.wait(WAIT_S) in (0, -signal.SIGTERM)

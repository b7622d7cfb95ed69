"""One request over one connection, by bare sockets: what a client may do to a server, libraries don't."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 120.0  # for any one wait; whoever waits longer was forgotten
RESET = struct.pack("ii", 1, 0)  # the system's struct linger
CHAT = "/v1/chat/completions"
READ_BYTES = 65536


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        sock.connect((self.host, self.port))
        return sock


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool  # it came to its end

    def json(self) -> dict[str, Any]:
        """The body's object; empty where it holds none."""
        try:
            data = json.loads(self.body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def error(self) -> str:
        """What a refusal says; empty where it is none."""
        error = self.json().get("error")
        return str(error.get("message", "")) if isinstance(error, dict) else ""

    def events(self) -> list[dict[str, Any]]:
        """The data of a stream."""
        lines = self.body.decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def post(address: Address, body: dict[str, Any] | bytes) -> bytes:
    """A request that asks for an answer, as it is sent."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _head(address, "POST", CHAT, f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n") + data


def get(address: Address, path: str) -> bytes:
    return _head(address, "GET", path, "")


def _head(address: Address, method: str, path: str, more: str) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\nConnection: close\r\n{more}\r\n"
    ).encode()


def received(sock: socket.socket) -> bytes:
    """All that comes until the server closes."""
    data = bytearray()
    while piece := sock.recv(READ_BYTES):
        data += piece
    return bytes(data)


def exchanged(address: Address, request: bytes) -> Response:
    with address.connect() as sock:
        sock.sendall(request)
        return parsed(received(sock))


def parsed(data: bytes) -> Response:
    """The final response in what came; those with a status of 1xx only announce it. Status 0 where there is none."""
    while True:
        head, ended, rest = data.partition(b"\r\n\r\n")
        if not ended:
            return Response(0, {}, b"", whole=False)
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        if status >= 200:
            break
        data = rest
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, whole = _unchunked(rest)
    else:
        body, whole = rest, len(rest) == int(headers.get("content-length", len(rest)))
    return Response(status, headers, body, whole)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    body = bytearray()
    while True:
        line, ended, data = data.partition(b"\r\n")
        if not ended:
            return bytes(body), False
        size = int(line, 16)
        if size == 0:
            return bytes(body), True
        body += data[:size]
        if len(data) < size + 2:
            return bytes(body), False
        data = data[size + 2 :]


def reset(sock: socket.socket) -> None:
    """Leaves without a word: the other side gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()

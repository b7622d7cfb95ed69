"""A small OpenAI-compatible server that says what it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeEndpoint:
    """`answers`: what it says, one request after another, the last for ever."""

    def __init__(self, answers: Sequence[str] = ("An answer.",), models: Sequence[str] = ("small", "large")) -> None:
        self.answers, self.models = list(answers), models
        self.asked: list[dict[str, Any]] = []  # bodies, in their order
        self.headers: list[dict[str, str]] = []
        self.breaks = False  # it ends its stream after the first word
        self.holds: threading.Event | None = None  # after the first word, until it is set
        self.raw: bytes | None = None  # instead of a stream
        self.status = 200
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """On the port that it had before, if it had one."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = {"data": [{"id": each} for each in endpoint.models]}
                self._send(200 if self.path == "/v1/models" else 404, json.dumps(body).encode())

            def do_POST(self) -> None:
                endpoint.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                endpoint.headers.append(dict(self.headers))
                if endpoint.raw is not None or endpoint.status != 200:
                    self._send(endpoint.status, endpoint.raw or b'{"error": {"message": "no room"}}')
                    return
                answer = endpoint.answers.pop(0) if len(endpoint.answers) > 1 else endpoint.answers[0]
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for number, word in enumerate(answer.split(" ")):
                    if number == 1 and endpoint.breaks:
                        return
                    if number == 1 and endpoint.holds is not None:
                        endpoint.holds.wait(20)
                    piece = {"choices": [{"delta": {"content": word if not number else f" {word}"}}]}
                    self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                    self.wfile.flush()
                self.wfile.write(b"data: [DONE]\n\n")

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


@contextmanager
def served(endpoint: FakeEndpoint) -> Iterator[FakeEndpoint]:
    endpoint.start()
    try:
        yield endpoint
    finally:
        endpoint.stop()

"""Small data files of every benchmark, one run over all of them, and a server that stands in for a judge."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli import main
from omnilmm_lite.hub import http
from tests.evaluation.mini_sets import write_all

OPTIONS = ("--max-new-tokens", "16", "--threads", "1")


@pytest.fixture(scope="session")
def mini_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    return write_all(tmp_path_factory.mktemp("mini-sets"))


@pytest.fixture(scope="session")
def whole_run(mini_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `eval all`, never stopped; to be read only."""
    out = tmp_path_factory.mktemp("runs") / "all"
    assert main(["eval", "all", "--data", str(mini_sets), "-o", str(out), *OPTIONS]) == 0
    return out


class Judge:
    """A server with the chat API: `statuses` come first, one a request, then replies."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.reply = "Rating: 4, fine."
        self.raw: bytes | None = None  # in the place of all that
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.bodies.append({"path": self.path, **body})
                judge.headers.append(dict(self.headers))
                status = judge.statuses.pop(0) if judge.statuses else 200
                reply = {
                    "choices": [{"message": {"role": "assistant", "content": judge.reply}}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
                }
                data = json.dumps(reply).encode() if judge.reply else b"hello"
                if status != 200:
                    data = json.dumps({"error": {"message": f"not\n{status}"}}).encode()
                if judge.raw is not None:
                    data = judge.raw
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setattr(http, "sleep", lambda seconds: None)
    found = Judge()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()

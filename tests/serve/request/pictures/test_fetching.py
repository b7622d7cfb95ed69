"""Pictures by address: from a real HTTP server on this machine, which is refused unless a test lets it in."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from omnilmm_lite.serve.errors import ApiError
from omnilmm_lite.serve.request.pictures import fetching
from omnilmm_lite.serve.request.pictures.fetching import fetch_picture, is_public

FILE = b"a picture's bytes" * 1000
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


class Pictures(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
        elif self.path == "/file":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(FILE)
        else:
            self.send_error(404)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1")


@pytest.mark.parametrize("ip", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public(ip: str) -> None:
    assert is_public(ip)


@pytest.mark.parametrize(
    "ip",
    ["127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1:2:3:4:5:6"],
)  # fmt: skip
def test_not_public(ip: str) -> None:
    assert not is_public(ip)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "0"])
def test_this_machine_is_refused_by_whatever_name(address: str, host: str) -> None:
    port = address.rpartition(":")[2]
    with pytest.raises(ApiError, match=r"not on the public network|can.t be fetched"):
        fetch_picture(f"http://{host}:{port}/file")


@pytest.mark.usefixtures("let_in")
def test_a_file_is_fetched_also_where_it_has_moved(address: str) -> None:
    assert fetch_picture(f"{address}/file") == FILE
    assert fetch_picture(f"{address}/redirect?/file") == FILE
    assert fetch_picture(f"{address}/redirect?{address}/file") == FILE


@pytest.mark.usefixtures("let_in")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/redirect?http://127.0.0.2/file", "public network"),
        ("/redirect?http://[::1]/file", "public network|can't be fetched"),
        ("/redirect?file:///etc/passwd", "no http"),
        ("/redirect?/redirect?/redirect?/redirect?/redirect?/redirect?/file", "more than 5"),
        ("/missing", "404"),
        ("/a b", "escaped"),
    ],
)
def test_every_hop_is_looked_at(address: str, path: str, said: str) -> None:
    with pytest.raises(ApiError, match=said) as raised:
        fetch_picture(address + path)
    assert raised.value.status == 400


@pytest.mark.usefixtures("let_in")
def test_size_and_time_are_bounded(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as smaller:
        smaller.setattr(fetching, "MAX_BYTES", len(FILE) - 1)
        with pytest.raises(ApiError, match="limit"):
            fetch_picture(f"{address}/file")
    monkeypatch.setattr(fetching, "TOTAL_S", 0.0)
    with pytest.raises(ApiError, match="within"):
        fetch_picture(f"{address}/file")


@contextlib.contextmanager
def trickling(sudden: bytes, slow: bytes) -> Iterator[int]:
    """The port of a server that sends the second part byte by byte, each long before a socket's timeout."""

    class Trickle(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # who asked has hung up
                self.request.sendall(sudden)
                for byte in slow:
                    time.sleep(0.05)
                    self.request.sendall(bytes([byte]))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.usefixtures("let_in")
@pytest.mark.parametrize(
    ("scheme", "sudden", "slow"),
    [
        ("http", CLOSING + b"\r\n", b"x" * 60),
        ("http", CLOSING + b"Content-Length: 60\r\n\r\n", b"x" * 60),
        ("http", CLOSING + b"X: ", b"x" * 60 + b"\r\n\r\n"),
        ("http", CLOSING + b"Transfer-Encoding: chunked\r\n\r\n1", b" " * 60 + b"\r\nx\r\n0\r\n\r\n"),
        ("https", b"\x16\x03\x03\x40\x00\x02", b"\0" * 60),  # a record of 16 KiB
    ],
    ids=["body", "body of known length", "headers", "chunk's size", "handshake"],
)
def test_what_comes_slowly_is_ended(monkeypatch: pytest.MonkeyPatch, scheme: str, sudden: bytes, slow: bytes) -> None:
    context = ssl.create_default_context()  # made beforehand: reading the system's certificates may take long
    monkeypatch.setattr(ssl, "create_default_context", lambda: context)
    monkeypatch.setattr(fetching, "TOTAL_S", 0.5)
    with trickling(sudden, slow) as port, pytest.raises(ApiError, match="didn't come within"):
        fetch_picture(f"{scheme}://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["http://", "http://host:x/", "http://me:secret@8.8.8.8/", "https:/x", "http://[/"])
def test_malformed_addresses(url: str) -> None:
    with pytest.raises(ApiError):
        fetch_picture(url)

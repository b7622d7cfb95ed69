"""Pictures from the network, where the user allowed it: public addresses alone, looked at again after each redirect.

Whoever may send a request could otherwise reach, through this machine, what only this machine may reach. The address
that was checked is the one that is connected to, so that a name can't change its meaning in between.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

from omnilmm_lite.serve.errors import ApiError, invalid
from omnilmm_lite.version import __version__

MAX_BYTES = 24 * 2**20
MAX_HOPS = 5
TOTAL_S = 20.0
READ_BYTES = 64 * 1024
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # stands for any IPv4 address, private ones too


class _TimeLimit:
    """TOTAL_S from now on, for all hops together."""

    def __init__(self) -> None:
        self._end = time.monotonic() + TOTAL_S
        self._is_over = False

    def left(self) -> float:
        """The seconds that are left; ApiError where there are none."""
        left = self._end - time.monotonic()
        if self._is_over or left <= 0:
            raise _refused(f"the file didn't come within {TOTAL_S:.0f} s")
        return left

    @contextlib.contextmanager
    def ending(self, sock: socket.socket) -> Iterator[None]:
        """A block in which `sock` is shut down once the time is over.

        A socket's own timeout begins anew with every byte that comes: it ends no handshake and no headers.
        """
        timer = threading.Timer(self.left(), self._shut_down, [sock])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _shut_down(self, sock: socket.socket) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):  # it is closed already
            # not the SSLSocket's, which takes the encryption from under whoever is reading
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def fetch_picture(url: str) -> bytes:
    """The file's bytes. ApiError where an address is not public, or the file can't be had in time and size."""
    limit = _TimeLimit()
    for _ in range(MAX_HOPS):
        try:
            response_or_target = _fetch_once(url, limit)
        except (OSError, http.client.HTTPException, UnicodeError):
            limit.left()  # where the time is over, that is why
            raise _refused("the picture can't be fetched from there") from None
        if isinstance(response_or_target, bytes):
            return response_or_target
        url = urljoin(url, response_or_target)
    raise _refused(f"the address leads on more than {MAX_HOPS} times")


def _fetch_once(url: str, limit: _TimeLimit) -> bytes | str:
    """The file, or where it is instead."""
    parts = _parts(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    with (
        _connected(parts.scheme, host, port, limit) as sock,
        limit.ending(sock),
        _response(parts, host, port, sock) as response,
    ):
        location = response.getheader("Location")
        if response.status in REDIRECTS and location:
            return location
        if response.status != 200:
            raise _refused(f"the other server answered {response.status}")
        return _read(response, sock, limit)


def _response(parts: SplitResult, host: str, port: int, sock: socket.socket) -> http.client.HTTPResponse:
    """The answer as far as its headers."""
    if isinstance(sock, ssl.SSLSocket):
        sock.do_handshake()
    named = f"[{host}]" if ":" in host else host
    headers = {"Host": named if port == PORTS[parts.scheme] else f"{named}:{port}", "Accept": "image/*",
               "Accept-Encoding": "identity", "User-Agent": f"omnilmm-lite/{__version__}"}  # fmt: skip
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port)
    connection.sock = sock
    connection.request("GET", target, headers=headers)
    return connection.getresponse()


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError:
        raise _refused("the address is malformed") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise _refused("the address is no http(s) address with a host")
    if parts.username is not None or parts.password is not None:
        raise _refused("the address holds a user name; leave it out")
    if not url.isascii() or any(ord(c) <= 32 for c in url):
        raise _refused("the address holds characters that must be escaped")
    return parts


def _connected(scheme: str, host: str, port: int, limit: _TimeLimit) -> socket.socket:
    """Connected to an address of `host` that was checked; a TLS handshake is still to come."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise _refused("its host is not on the public network")
    sock = socket.create_connection((addresses[0], port), timeout=limit.left())
    if scheme == "http":
        return sock
    try:
        context = ssl.create_default_context()
        return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise


def _read(response: http.client.HTTPResponse, sock: socket.socket, limit: _TimeLimit) -> bytes:
    data = bytearray()
    while True:
        left = limit.left()
        if not response.isclosed():  # as it is once it was read to its end, and its socket may be, too
            sock.settimeout(left)
        piece = response.read1(READ_BYTES)
        if not piece:
            limit.left()  # a socket that was shut down looks like the file's end
            return bytes(data)
        data += piece
        if len(data) > MAX_BYTES:
            raise _refused(f"the file has more than {MAX_BYTES // 2**20} MiB, the limit")


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's on the internet: not this machine's, nor its network's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in NAT64 or ip.sixtofour is not None or ip.teredo is not None:
            return False  # they carry an IPv4 address to who knows where
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
    return ip.is_global and not ip.is_multicast


def _refused(why: str) -> ApiError:
    return invalid(f"image_url: {why}", "messages", "invalid_image_url")

"""Pictures from the network, where the user allowed it: public addresses alone, looked at again after each redirect.

Whoever may send a request could otherwise reach, through this machine, what only this machine may reach. The address
that was checked is the one that is connected to, so that a name can't change its meaning in between.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from omnilmm_lite import __version__
from omnilmm_lite.serve.errors import ApiError, invalid

MAX_BYTES = 24 * 2**20
MAX_HOPS = 5
TOTAL_S = 20.0
READ_BYTES = 64 * 1024
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # stands for any IPv4 address, private ones too


def fetch_picture(url: str) -> bytes:
    """The file's bytes. ApiError where an address is not public, or the file can't be had in time and size."""
    deadline = time.monotonic() + TOTAL_S
    for _ in range(MAX_HOPS):
        try:
            response_or_target = _fetch_once(url, deadline)
        except (OSError, http.client.HTTPException, UnicodeError):
            raise _refused("the picture can't be fetched from there") from None
        if isinstance(response_or_target, bytes):
            return response_or_target
        url = urljoin(url, response_or_target)
    raise _refused(f"the address leads on more than {MAX_HOPS} times")


def _fetch_once(url: str, deadline: float) -> bytes | str:
    """The file, or where it is instead."""
    parts = _parts(url)
    default = PORTS[parts.scheme]
    host, port = parts.hostname or "", parts.port or default
    connection = _connection(parts.scheme, host, port, deadline)
    try:
        named = f"[{host}]" if ":" in host else host
        headers = {"Host": named if port == default else f"{named}:{port}", "Accept": "image/*",
                   "Accept-Encoding": "identity", "User-Agent": f"omnilmm-lite/{__version__}"}  # fmt: skip
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        location = response.getheader("Location")
        if response.status in REDIRECTS and location:
            return location
        if response.status != 200:
            raise _refused(f"the other server answered {response.status}")
        return _read(response, connection, deadline)
    finally:
        connection.close()


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


def _connection(scheme: str, host: str, port: int, deadline: float) -> http.client.HTTPConnection:
    """Connected to an address of `host` that was checked."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address):
            raise _refused("its host is not on the public network")
    connection = http.client.HTTPConnection(host, port)
    sock = socket.create_connection((addresses[0], port), timeout=_left(deadline))
    try:
        if scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    connection.sock = sock
    return connection


def _read(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, deadline: float) -> bytes:
    data = bytearray()
    while True:
        if connection.sock is not None:
            connection.sock.settimeout(_left(deadline))
        piece = response.read1(READ_BYTES)
        if not piece:
            return bytes(data)
        data += piece
        if len(data) > MAX_BYTES:
            raise _refused(f"the file has more than {MAX_BYTES // 2**20} MiB, the limit")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _refused(f"the file didn't come within {TOTAL_S:.0f} s")
    return left


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

"""HTTP for fetching files: bounded, within https, through the proxies of the environment; what fails says so in a line.

Hugging Face's own library brings httpx2, which this is made of.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.version import __version__

CHUNK = 1 << 20
REDIRECTS = 10
TIMEOUT = httpx2.Timeout(30.0, connect=15.0)  # seconds; for reading, between two pieces
WAITS_S = (1, 2, 4, 8, 16, 32)  # between tries without a byte in between
LONGEST_WAIT_S = 300  # that a server may ask for
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

sleep = time.sleep  # the tests don't wait


class Trouble(Enum):
    """What kind of failure it is: whether another try may help, and when."""

    CONNECT = "connect"  # nobody answers
    TRANSIENT = "transient"  # cut, too slow, overloaded
    RANGE = "range"  # the server has less than what is here already
    FINAL = "final"


class HttpError(OmniLMMError):
    """One line with the host and what happened."""

    def __init__(self, text: str, trouble: Trouble, status: int | None = None, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.trouble, self.status, self.wait_s = trouble, status, wait_s


@dataclass(frozen=True)
class Body:
    """An answer's bytes, from `start` of the file on; iterating raises HttpError where the connection fails."""

    start: int
    chunks: Iterator[bytes]


class Retries:
    """Counts tries in a row that brought nothing, and waits between them."""

    def __init__(self, note: Callable[[str], None], *, connects: bool = False) -> None:
        """`connects`: somebody has answered before, so that even no connection is worth another try."""
        self._note, self._count = note, 0
        self._troubles = {Trouble.TRANSIENT, Trouble.CONNECT} if connects else {Trouble.TRANSIENT}

    def progressed(self) -> None:
        self._count = 0

    def wait(self, error: HttpError) -> None:
        """Sleeps before another try, or raises `error` where none is left or none would help."""
        if error.trouble not in self._troubles:
            raise error
        if self._count == len(WAITS_S) or (error.wait_s or 0) > LONGEST_WAIT_S:
            raise error
        seconds = WAITS_S[self._count] if error.wait_s is None else error.wait_s
        self._count += 1
        self._note(f"{error}; next try in {seconds:.0f} s")
        sleep(seconds)


class HttpClient:
    """Follows redirects within https only, and takes keys to the host that they are for, no further."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._client = httpx2.Client(
            timeout=TIMEOUT, headers={"User-Agent": f"omnilmm-lite/{__version__}", "Accept-Encoding": "identity"}
        )
        self._note = note
        self._hosts: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def head(self, url: str, headers: Mapping[str, str] | None = None) -> httpx2.Headers | None:
        """The headers of a file; None where there is none. HttpError for anything else."""
        retries = Retries(self._note)
        while True:
            try:
                with self._response("HEAD", url, headers or {}) as response:
                    return response.headers
            except HttpError as error:
                if error.status == 404:
                    return None
                retries.wait(error)

    def read(self, url: str, headers: Mapping[str, str] | None, limit: int) -> bytes:
        """A whole small file; HttpError where it has more than `limit` bytes."""
        retries = Retries(self._note)
        while True:
            data = bytearray()
            try:
                with self.stream(url, headers or {}) as body:
                    for chunk in body.chunks:
                        data += chunk
                        if len(data) > limit:
                            raise HttpError(f"{_host(url)} sends more than {limit:,} bytes for {url}", Trouble.FINAL)
                return bytes(data)
            except HttpError as error:
                retries.wait(error)

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str], start: int = 0, size: int | None = None) -> Iterator[Body]:
        """The file from byte `start` on, or from its beginning where the server knows no ranges; `size`: the whole
        file's. One try."""
        wanted = dict(headers) | ({"Range": f"bytes={start}-"} if start else {})
        with self._response("GET", url, wanted) as response:
            begin = _first_byte(response, start, size)
            yield Body(begin, _chunks(response, url))

    @contextmanager
    def _response(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        own, address = dict(headers), url
        for _ in range(REDIRECTS + 1):
            with _failures_told(address), self._client.stream(method, address, headers=own) as response:
                target = response.headers.get("Location")
                if not (response.is_redirect and target):
                    _check_status(response, address)
                    yield response
                    return
                following = _redirected(address, target)
            if urlsplit(following).netloc != urlsplit(address).netloc:
                own = {name: value for name, value in own.items() if name.lower() not in ("authorization", "cookie")}
                if (host := _host(following)) not in self._hosts:
                    self._hosts.add(host)
                    self._note(f"{_host(address)} sends on to {host}")
            address = following
        raise HttpError(f"{_host(url)} sends from one address to the next without end", Trouble.FINAL)


def bearer(key: str, source: str) -> dict[str, str]:
    """The header that shows `key`; none where it is empty. InputError, in which the key doesn't stand, where no header
    can hold it. `source`: what it was read from."""
    key = key.strip()  # a line's end, as files have it
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"{source}: it holds characters that no key has; set it anew")
    return {"Authorization": f"Bearer {key}"} if key else {}


def retry_after(value: str | None) -> float | None:
    """Seconds, from a Retry-After header as a number or a date; None where it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal() and len(value) < 12:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def describe_failure(error: Exception, host: str) -> HttpError:
    """One line about a failed connection to `host`, and whether another try may help."""
    causes = list(_causes(error))
    if isinstance(error, httpx2.LocalProtocolError):  # its text holds the header, which may be a key
        return HttpError(f"{host}: the request can't be sent: a header holds characters that none may", Trouble.FINAL)
    if isinstance(error, httpx2.ProxyError):
        return HttpError(
            f"{host}: the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY doesn't let it through "
            f"({_reason(error)}); correct or unset it",
            Trouble.FINAL,
        )
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return HttpError(
            f"{host}: its certificate isn't trusted here; is the clock right, or does a company's proxy stand between? "
            "SSL_CERT_FILE names that one's certificates",
            Trouble.FINAL,
        )
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return HttpError(f"{host}: this name can't be looked up; is there a network?", Trouble.CONNECT)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        way = " through the proxy of the environment" if getproxies().keys() & {"http", "https", "all"} else ""
        return HttpError(f"{host}: no connection{way} ({_reason(error)}); is there a network?", Trouble.CONNECT)
    if isinstance(error, httpx2.TimeoutException):
        return HttpError(f"{host}: no answer for {TIMEOUT.read:.0f} s", Trouble.TRANSIENT)
    if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
        return HttpError(f"{host}: the connection was cut", Trouble.TRANSIENT)
    return HttpError(f"{host}: the request failed ({_reason(error)})", Trouble.FINAL)


def describe_status(host: str, status: int, wait: str | None) -> HttpError:
    """One line about an answer that is none of the expected ones."""
    seconds = retry_after(wait)
    if status == 429:
        asked = "" if seconds is None else f" and asks to wait for {seconds:.0f} s"
        return HttpError(
            f"{host} answers that there were too many requests (429){asked}", Trouble.TRANSIENT, 429, seconds
        )
    if status in TRANSIENT:
        return HttpError(f"{host} can't answer now ({status})", Trouble.TRANSIENT, status, seconds)
    if status == 416:
        return HttpError(f"{host} has less of the file than is here (416)", Trouble.RANGE, status)
    meanings = {
        401: "asks for a token",
        403: "forbids it",
        404: "has no such file",
        407: "has a proxy that wants a password",
    }
    return HttpError(f"{host} {meanings.get(status, 'refuses')} ({status})", Trouble.FINAL, status)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


@contextmanager
def _failures_told(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise describe_failure(error, _host(url)) from error


def _chunks(response: httpx2.Response, url: str) -> Iterator[bytes]:
    with _failures_told(url):
        yield from response.iter_raw()  # as it comes: a cut loses nothing


def _check_status(response: httpx2.Response, url: str) -> None:
    if response.status_code not in (200, 206):
        raise describe_status(_host(url), response.status_code, response.headers.get("Retry-After"))


def _first_byte(response: httpx2.Response, start: int, size: int | None) -> int:
    """Where in the file the answer begins; a server may pass over the range, or keep to it and still say 200."""
    if found := CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "")):
        return int(found[1])
    if response.status_code == 206:
        return start
    length = response.headers.get("Content-Length", "")
    return start if size is not None and length.isdecimal() and int(length) == size - start else 0


def _redirected(url: str, target: str) -> str:
    try:
        following = str(httpx2.URL(url).join(target))
        parts = urlsplit(following)
    except (httpx2.InvalidURL, ValueError):
        raise HttpError(f"{_host(url)} sends on to an address that is none", Trouble.FINAL) from None
    if parts.scheme not in ("https", urlsplit(url).scheme) or not parts.hostname:
        raise HttpError(
            f"{_host(url)} sends on to {parts.scheme}://{parts.netloc}, which isn't encrypted; nothing was taken",
            Trouble.FINAL,
        )
    return following


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]

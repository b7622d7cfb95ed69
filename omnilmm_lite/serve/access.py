"""Who may ask: the key, and the checks that keep other web sites' pages away from a server on this machine.

A page of any site may send requests to 127.0.0.1; its `Origin` tells. A name that its owner points to 127.0.0.1 makes
that page look like ours (DNS rebinding); its `Host` tells.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import ApiError

LOCAL_NAMES = ("localhost",)
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>\d{1,5}))?/?", re.ASCII)
DEFAULT_PORTS = {"http": 80, "https": 443}
KEPT_BY_KEY = ("/v1", "/api", "/health", "/metrics")  # the page's own files hold nothing of anybody's


@dataclass(frozen=True)
class Access:
    """`key`: None lets everybody in. `hosts`: names by which this machine is asked. `origins`: other pages that may."""

    key: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """ApiError where the request must not be answered. `headers`: by their lower-case names."""
        host = headers.get("host", "")
        if not self._is_own_host(host):
            raise ApiError(403, "the Host header names another machine; start with --allow-host to be asked by that "
                                "name", code="host_not_allowed")  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and not self.is_own_origin(origin, host):
            raise ApiError(403, "pages of other sites may not ask; start with --allow-origin to let this one",
                           code="origin_not_allowed")  # fmt: skip
        if self.key is not None and method != "OPTIONS" and _is_below(path, KEPT_BY_KEY):
            self._check_key(self.key, headers.get("authorization", ""))

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether pages of this origin may send requests and read the answers."""
        return origin in self.origins or origin.partition("://")[2] == host

    def _is_own_host(self, host: str) -> bool:
        """A bare address can't be pointed elsewhere by anybody, so that any is fine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in LOCAL_NAMES or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @staticmethod
    def _check_key(key: str, authorization: str) -> None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key.encode()):
            return
        raise ApiError(401, "the API key is missing or wrong; send Authorization: Bearer KEY", code="invalid_api_key",
                       headers={"WWW-Authenticate": "Bearer"})  # fmt: skip


def parse_origin(text: str) -> str:
    """The origin as browsers write it in `Origin`: scheme, host and port, in lower case. A slash at its end is taken.

    InputError for anything else, which no browser would ever send: the option would do nothing.
    """
    if text.strip() == "*":
        raise InputError("--allow-origin: * would let every page of the web ask; name each site that may")
    match = ORIGIN.fullmatch(text.strip().lower())
    if match is None or int(match["port"] or 0) > 65535:
        raise InputError(f"--allow-origin: {printable(text)!r} is no site; write it like http://localhost:3000")
    is_default = match["port"] is not None and int(match["port"]) == DEFAULT_PORTS[match["scheme"]]
    port = "" if match["port"] is None or is_default else f":{int(match['port'])}"  # as browsers leave it out
    return f"{match['scheme']}://{match['host']}{port}"


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return host in LOCAL_NAMES or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""One file over a connection that goes wrong, in every way that the local hub knows."""

from __future__ import annotations

import errno
import os
import random
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.hub import http
from omnilmm_lite.hub.download import DownloadEvents, download
from omnilmm_lite.hub.http import HttpClient, HttpError, Trouble
from omnilmm_lite.hub.remote_file import RemoteFile
from omnilmm_lite.hub.repository import HttpRepository
from tests.hub.conftest import noise
from tests.hub.local_hub import Fault, LocalHub, git_id, sha256

DATA = noise(200_000, 3)
FILE = RemoteFile("weights.bin", len(DATA), sha256(DATA))


class Plain(HttpRepository):
    """One file of a mirror."""

    def __init__(self, client: HttpClient, hub: LocalHub) -> None:
        super().__init__(client, "the mirror", {})
        self._hub = hub

    def find(self, path: str) -> RemoteFile | None:
        raise AssertionError("nobody asks")

    def address(self, path: str) -> str:
        return f"{self._hub.address}/mirror/a/b/{path}"


class Fetch:
    """Downloads FILE into `partial`."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.hub, self.partial = hub, folder / "partial"
        self.notes: list[str] = []
        self.bytes = 0
        hub.add("a/b", {FILE.path: DATA})

    def __call__(self, file: RemoteFile = FILE) -> str:
        self.bytes = 0
        with HttpClient(self.notes.append) as client:
            return download(
                Plain(client, self.hub), file, self.partial, DownloadEvents(self._received, self.notes.append)
            )

    def _received(self, count: int) -> None:
        self.bytes += count

    @property
    def ranges(self) -> list[str | None]:
        return [each.headers.get("Range") for each in self.hub.asked("/mirror/")]


@pytest.fixture
def fetch(hub: LocalHub, tmp_path: Path) -> Fetch:
    return Fetch(hub, tmp_path)


def arrived(fetch: Fetch) -> bool:
    return fetch.partial.read_bytes() == DATA and fetch.bytes == len(DATA)


def test_a_file_comes_whole(fetch: Fetch) -> None:
    assert fetch() == sha256(DATA)
    assert arrived(fetch)
    assert not fetch.notes


def test_a_git_object_is_checked_by_its_id(fetch: Fetch) -> None:
    assert fetch(RemoteFile(FILE.path, FILE.size, git_id=git_id(DATA))) == git_id(DATA)
    fetch.partial.unlink()
    with pytest.raises(OmniLMMError, match="twice"):
        fetch(RemoteFile(FILE.path, FILE.size, git_id=git_id(b"other")))


@pytest.mark.parametrize("fault", [Fault.QUIET_RANGE, None])
def test_what_is_there_is_gone_on_with(fetch: Fetch, fault: Fault | None) -> None:
    """ModelScope keeps to a range and says 200 all the same."""
    fetch.partial.write_bytes(DATA[:70_000])
    if fault is not None:
        fetch.hub.fail("/mirror/", fault)
    fetch()
    assert arrived(fetch)
    assert fetch.ranges == ["bytes=70000-"]


def test_a_server_without_ranges_begins_anew(fetch: Fetch) -> None:
    fetch.partial.write_bytes(DATA[:70_000])
    fetch.hub.fail("/mirror/", Fault.NO_RANGE)
    fetch()
    assert arrived(fetch)
    assert fetch.ranges == ["bytes=70000-"]
    assert not fetch.notes


def test_a_whole_file_is_only_checked(fetch: Fetch) -> None:
    fetch.partial.write_bytes(DATA)
    fetch()
    assert arrived(fetch)
    assert not fetch.hub.requests


@pytest.mark.parametrize("there", [b"x" * 70_000, b"x" * len(DATA), DATA + b"x"])
def test_what_is_there_and_is_another_s_is_fetched_anew(fetch: Fetch, there: bytes) -> None:
    fetch.partial.write_bytes(there)
    fetch()
    assert arrived(fetch)
    assert len(fetch.notes) == (len(there) <= len(DATA))


def test_without_anything_to_tell_it_by_nothing_is_gone_on_with(fetch: Fetch) -> None:
    fetch.partial.write_bytes(b"x" * 70_000)
    assert fetch(RemoteFile(FILE.path, FILE.size)) == sha256(DATA)
    assert arrived(fetch)


def test_cut_connections_go_on(fetch: Fetch) -> None:
    fetch.hub.fail("/mirror/", Fault.CUT, times=3, amount=50_000)
    fetch()
    assert arrived(fetch)
    assert fetch.ranges == [None, "bytes=50000-", "bytes=100000-", "bytes=150000-"]
    assert fetch.notes == [f"127.0.0.1:{fetch.hub.port}: the connection was cut; next try in 1 s"] * 3


def test_a_connection_that_brings_nothing_is_given_up(fetch: Fetch) -> None:
    fetch.hub.fail("/mirror/", Fault.CUT, times=99)
    with pytest.raises(HttpError, match="the connection was cut"):
        fetch()
    assert len(fetch.hub.requests) == len(http.WAITS_S) + 1
    assert [note.rpartition("next try in ")[2] for note in fetch.notes] == [f"{each} s" for each in http.WAITS_S]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(fetch: Fetch, status: int) -> None:
    fetch.hub.fail("/mirror/", Fault.STATUS, status=status, times=2)
    fetch()
    assert arrived(fetch)
    assert len(fetch.notes) == 2
    assert str(status) in fetch.notes[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501])
def test_what_does_not_pass_is_said_at_once(fetch: Fetch, status: int) -> None:
    fetch.hub.fail("/mirror/", Fault.STATUS, status=status, times=99)
    with pytest.raises(HttpError, match=rf"\({status}\)"):
        fetch()
    assert len(fetch.hub.requests) == 1


def test_the_server_says_how_long_to_wait(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(http, "sleep", slept.append)
    fetch.hub.fail("/mirror/", Fault.STATUS, status=429, headers={"Retry-After": "7"})
    fetch()
    assert slept == [7]
    fetch.partial.unlink()
    fetch.hub.fail("/mirror/", Fault.STATUS, status=429, headers={"Retry-After": "86400"})
    with pytest.raises(HttpError, match="asks to wait for 86400 s"):
        fetch()
    assert slept == [7]


def test_a_range_that_the_server_does_not_have(fetch: Fetch) -> None:
    fetch.partial.write_bytes(DATA[:70_000])
    fetch.hub.fail("/mirror/", Fault.STATUS, status=416)
    fetch()
    assert arrived(fetch)
    assert fetch.ranges == ["bytes=70000-", None]


@pytest.mark.parametrize("fault", [Fault.CHANGED, Fault.LONGER])
def test_wrong_content_is_fetched_once_more_and_then_named(fetch: Fetch, fault: Fault) -> None:
    fetch.hub.fail("/mirror/", fault)
    fetch()
    assert arrived(fetch)
    assert "weights.bin came with the hash" in fetch.notes[0]
    fetch.partial.unlink()
    fetch.hub.fail("/mirror/", fault, times=2)
    with pytest.raises(OmniLMMError, match=r"weights.bin came with the hash .* twice"):
        fetch()
    assert not fetch.partial.exists()
    assert fetch.bytes == 0


def test_endless_content_is_cut_off(fetch: Fetch) -> None:
    fetch.hub.repos["a/b"].files[FILE.path] = DATA * 50
    with pytest.raises(OmniLMMError, match="twice"):
        fetch()
    assert fetch.bytes == 0


def test_a_full_disk_keeps_what_has_come(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OmniLMMError, match="the disk is full; what has come is kept"):
        fetch()
    monkeypatch.undo()
    assert fetch.partial.stat().st_size > 0


# ---- redirects ----


def test_keys_go_to_their_own_host_only(fetch: Fetch) -> None:
    hub = fetch.hub
    hub.blobs["x"] = DATA
    hub.fail("/mirror/", Fault.ELSEWHERE, location=f"{hub.other_host}/lfs/x")
    with (
        HttpClient(fetch.notes.append) as client,
        client.stream(
            f"{hub.address}/mirror/a/b/f", {"Authorization": "Bearer x", "Cookie": "y", "X-Other": "z"}
        ) as body,
    ):
        assert b"".join(body.chunks) == DATA
    assert hub.requests[0].headers["Authorization"] == "Bearer x"
    assert {"Authorization", "Cookie"}.isdisjoint(hub.requests[1].headers)
    assert hub.requests[1].headers["X-Other"] == "z"
    assert fetch.notes == [f"127.0.0.1:{hub.port} sends on to localhost:{hub.port}"]


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::"])
def test_redirects_to_what_is_no_web_server(fetch: Fetch, location: str) -> None:
    fetch.hub.fail("/mirror/", Fault.ELSEWHERE, location=location, times=99)
    with pytest.raises(HttpError, match="sends on to") as raised:
        fetch()
    assert raised.value.trouble is Trouble.FINAL


def test_no_redirect_leads_out_of_https() -> None:
    with pytest.raises(HttpError, match="isn't encrypted"):
        http._redirected("https://example.org/a", "http://example.org/b")
    assert http._redirected("https://example.org/a", "/b") == "https://example.org/b"
    assert http._redirected("http://example.org/a", "https://example.org/b") == "https://example.org/b"


def test_redirects_in_a_circle(fetch: Fetch) -> None:
    fetch.hub.fail("/mirror/", Fault.ELSEWHERE, location="/mirror/a/b/again", times=99)
    with pytest.raises(HttpError, match="without end"):
        fetch()
    assert len(fetch.hub.requests) == http.REDIRECTS + 1


def test_a_proxy_that_is_not_there(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(HttpError, match="through the proxy of the environment"):
        fetch()
    assert not fetch.hub.requests


def test_a_certificate_that_nobody_trusts() -> None:
    error = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    found = http.describe_failure(error, "example.org")
    assert "SSL_CERT_FILE" in str(found)
    assert found.trouble is Trouble.FINAL


# ---- any weather ----

FAULTS = st.sampled_from([Fault.CUT, Fault.STATUS, Fault.NO_RANGE, Fault.QUIET_RANGE, Fault.CHANGED, Fault.LONGER])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FAULTS, max_size=4), st.integers(0, len(DATA)), st.booleans(), st.randoms(use_true_random=False))
def test_what_arrives_is_right_or_said(
    fetch: Fetch, faults: list[Fault], there: int, is_ours: bool, chance: random.Random
) -> None:
    fetch.hub.switches.clear()
    fetch.partial.write_bytes(DATA[:there] if is_ours else noise(there, 9))
    for fault in faults:
        values: dict[str, Any] = {"amount": chance.randrange(len(DATA))}
        fetch.hub.fail("/mirror/", fault, **values)
    try:
        fetch()
    except OmniLMMError as error:
        assert "twice" in str(error)
        assert not fetch.partial.exists()
        assert fetch.bytes == 0
    else:
        assert arrived(fetch)

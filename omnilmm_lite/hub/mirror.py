"""A folder of a model's files at an address, as any web server has it: there is no listing, files are asked for by
name."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.hub.http import HttpClient
from omnilmm_lite.hub.remote_file import SHA256, RemoteFile
from omnilmm_lite.hub.repository import HttpRepository
from omnilmm_lite.hub.source import Source

SUMS = "SHA256SUMS"  # as sha256sum writes it
SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class MirrorRepository(HttpRepository):
    """Hashes are those of SHA256SUMS, if that is there, or of an ETag that is one."""

    def __init__(self, client: HttpClient, source: Source) -> None:
        super().__init__(client, source.shown, {})
        self._parts = urlsplit(source.name)
        self._sums = self._read_sums()

    def find(self, path: str) -> RemoteFile | None:
        headers = self.client.head(self.address(path))
        if headers is None:
            return None
        length = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
        if not length.isdecimal() or len(length) > 15:
            raise OmniLMMError(f"{self.origin}: it doesn't say how long {printable(path)} is; take another mirror")
        tag = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").strip().removeprefix("W/").strip('"')
        sha256 = self._sums.get(path) or (tag if SHA256.fullmatch(tag) else None)
        return RemoteFile(path, int(length), sha256, version=tag or headers.get("Last-Modified"))

    def address(self, path: str) -> str:
        parts = self._parts
        return urlunsplit((parts.scheme, parts.netloc, f"{parts.path}/{quote(path)}", "", ""))

    def _read_sums(self) -> dict[str, str]:
        if self.client.head(self.address(SUMS)) is None:
            return {}
        lines = self.read(SUMS).decode(errors="replace").splitlines()
        found = [match for line in lines if (match := SUM_LINE.fullmatch(line))]
        return {match[2].removeprefix("./"): match[1] for match in found}

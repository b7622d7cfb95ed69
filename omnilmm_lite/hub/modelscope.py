"""ModelScope, by its plain HTTP interface; no library of its own is needed.

Source of addresses and fields: the hub part of its own client, modelscope/hub/api.py and file_download.py.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, urlsplit

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.json_file import parse_json_object
from omnilmm_lite.hub.http import HttpClient, HttpError, bearer
from omnilmm_lite.hub.remote_file import RemoteFile
from omnilmm_lite.hub.repository import SMALL_FILE, HttpRepository
from omnilmm_lite.hub.source import Source

DOMAIN_VARIABLE = "MODELSCOPE_DOMAIN"  # its client's name for it
TOKEN_VARIABLE = "MODELSCOPE_API_TOKEN"
DOMAIN = "modelscope.cn"
NEWEST = "master"
FOLDER = "tree"


def modelscope_endpoint() -> str:
    """Whose interface is asked: https, unless the variable says otherwise."""
    given = os.environ.get(DOMAIN_VARIABLE) or DOMAIN
    return (given if "://" in given else f"https://{given}").rstrip("/")


class ModelScopeRepository(HttpRepository):
    """A model in the version that a revision stands for."""

    def __init__(self, client: HttpClient, source: Source) -> None:
        """Asks what the model has. HttpError where it can't be asked, InputError for a model that it doesn't have."""
        self._base = f"{modelscope_endpoint()}/api/v1/models/{source.name}/repo"
        self._revision = source.revision or NEWEST
        host = urlsplit(self._base).netloc
        headers = bearer(os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE)
        if headers:
            headers["Cookie"] = f"m_session_id={headers['Authorization'].removeprefix('Bearer ')}"
        super().__init__(client, f"{host}/{source.name}@{self._revision}", headers)
        address = f"{self._base}/files?Revision={quote(self._revision, safe='')}&Recursive=True"
        try:
            answer = client.read(address, headers, SMALL_FILE)
        except HttpError as error:
            if error.status in (401, 403, 404):
                raise InputError(
                    f"{host} has no model {source.name} in version {self._revision}, or hides it: check the name; if "
                    f"it is private, set {TOKEN_VARIABLE}"
                ) from error
            raise
        self._files = {str(each["Path"]): each for each in _listing(answer, self.origin)}

    def find(self, path: str) -> RemoteFile | None:
        found = self._files.get(path)
        if found is None:
            return None
        revision = found.get("Revision")
        version = revision if isinstance(revision, str) and revision else None
        return RemoteFile(path, found.get("Size", -1), found.get("Sha256") or None, version=version)

    def address(self, path: str) -> str:
        return f"{self._base}?Revision={quote(self._revision, safe='')}&FilePath={quote(path, safe='')}"


def _listing(answer: bytes, origin: str) -> list[dict[str, Any]]:
    """The announced files; OmniLMMError for an answer of another form."""
    found = parse_json_object(answer, f"the answer of {origin}")
    data = found.get("Data")
    files = data.get("Files") if isinstance(data, dict) else None
    if found.get("Code") != 200 or not isinstance(files, list):
        raise OmniLMMError(
            f"{origin}: it answers with something else than a list of files; is {DOMAIN_VARIABLE} right?"
        )
    entries = [each for each in files if isinstance(each, dict) and isinstance(each.get("Path"), str)]
    return [each for each in entries if each.get("Type") != FOLDER]

"""A hub on this machine: Hugging Face's interface as its own library asks for it, ModelScope's, and a plain mirror of
files, with faults that a test switches on.

Written after huggingface_hub 2.4 and modelscope's client. 127.0.0.1 and localhost serve as two hosts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_FROM = 1000  # bytes; larger files are kept as Git LFS does
TOKEN = "hf_known"


class Fault(Enum):
    """What goes wrong with an answer."""

    STATUS = "status"
    CUT = "cut"  # after `amount` bytes
    CHANGED = "changed"  # one bit
    LONGER = "longer"  # bytes behind the file's end, of which the headers speak, too
    NO_RANGE = "no range"  # from the beginning, whatever was asked for
    QUIET_RANGE = "quiet range"  # what was asked for, with status 200 and no word about it
    ELSEWHERE = "elsewhere"  # sends on to `location`


@dataclass
class Switch:
    """A fault of the answers to the next `times` requests whose address has `part` in it."""

    part: str
    fault: Fault
    times: int = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    amount: int = 0
    location: str = ""
    method: str = "GET"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Repo:
    files: dict[str, bytes]
    private: bool = False
    gated: bool = False

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for path, data in sorted(self.files.items()):
            digest.update(path.encode() + data)
        return digest.hexdigest()


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class LocalHub:
    """`repos` by name; `requests` is what was asked for."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.switches: list[Switch] = []
        self.requests: list[Request] = []
        self.blobs: dict[str, bytes] = {}  # of Git LFS, by hash
        self.announced: dict[str, Any] = {}  # of a listing, instead of what is right, by path
        self.asks_for_token = False
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_host(self) -> str:
        return f"http://localhost:{self.port}"

    def add(self, name: str, files: Mapping[str, bytes], **flags: bool) -> Repo:
        repo = self.repos[name] = Repo(dict(files), **flags)
        return repo

    def fail(self, part: str, fault: Fault, **values: Any) -> None:
        self.switches.append(Switch(part, fault, **values))

    def asked(self, part: str, method: str = "GET") -> list[Request]:
        return [each for each in self.requests if part in each.path and each.method == method]

    def take_switch(self, method: str, path: str) -> Switch | None:
        with self.lock:
            for switch in self.switches:
                if switch.part in path and switch.times > 0 and switch.method == method:
                    switch.times -= 1
                    return switch
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(HubHandler):
            pass

        Handler.hub = hub
        return Handler

    @contextmanager
    def running(self) -> Iterator[LocalHub]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class HubHandler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    # ---- ways in ----

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self._begin():
            return
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:3] == ["api", "v1", "models"]:
            self._modelscope(parts, query)
        elif parts[:2] == ["api", "models"]:
            self._model_info(parts)
        elif parts[0] == "lfs":
            self._send_file(self.hub.blobs.get(parts[1]), {})
        elif parts[0] == "mirror":
            repo = self.hub.repos["/".join(parts[1:3])]
            data = repo.files.get("/".join(parts[3:]))
            self._send_file(data, {} if data is None else {"ETag": f'"{git_id(data)}"'})
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve(parts)
        elif parts[:2] == ["api", "whoami-v2"]:
            self._send_json({"name": "somebody", "type": "user", "orgs": []})
        else:
            self._send_json({"error": "not found"}, 404)

    def do_PUT(self) -> None:
        data = self._body()
        if self._begin():
            return
        digest = self.path.rpartition("/")[2]
        if sha256(data) != digest:
            self._send_json({"error": "wrong content"}, 400)
            return
        self.hub.blobs[digest] = data
        self._send_json({})

    def do_POST(self) -> None:
        body = self._body()
        if self._begin():
            return
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send_json({"error": "Invalid credentials"}, 401)
        elif parts == ["api", "validate-yaml"]:
            self._send_json({"errors": [], "warnings": []})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif "preupload" in parts:
            files = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": _mode(each["size"]), "shouldIgnore": False} for each in files]
            self._send_json({"files": modes})
        elif parts[-1] == "batch":
            self._send_json(
                {"transfer": "basic", "objects": [self._upload_of(each) for each in json.loads(body)["objects"]]}
            )
        elif "commit" in parts:
            self._commit("/".join(parts[2:4]), body)
        else:
            self._send_json({"error": "not found"}, 404)

    # ---- Hugging Face ----

    def _model_info(self, parts: list[str]) -> None:
        repo = self._repo("/".join(parts[2:4]))
        if repo is None:
            return
        revision = parts[5] if parts[4:5] == ["revision"] else "main"
        if revision not in ("main", repo.commit):
            self._send_json({"error": "no such revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = []
        for path, data in repo.files.items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_id(data)}
            if _mode(len(data)) == "lfs":
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(entry | self.hub.announced.get(path, {}))
        name = "/".join(parts[2:4])
        self._send_json({"id": name, "sha": repo.commit, "private": repo.private, "siblings": siblings})

    def _resolve(self, parts: list[str]) -> None:
        repo = self._repo("/".join(parts[:2]))
        if repo is None:
            return
        if repo.gated:  # its listing is for everybody
            status = 401 if self.headers.get("Authorization") is None else 403
            self._send_json({"error": "gated"}, status, {"X-Error-Code": "GatedRepo"})
            return
        data, revision = repo.files.get("/".join(parts[4:])), parts[3]
        if data is None or revision not in ("main", repo.commit):
            self._send_json(
                {"error": "no such file"}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}
            )
            return
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{git_id(data)}"'}
        if _mode(len(data)) == "regular":
            self._send_file(data, headers)
            return
        digest = sha256(data)
        self.hub.blobs[digest] = data
        linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{digest}"', "X-Xet-Hash": digest}
        linked["Link"] = f'<{self.hub.address}/xet-read-token>; rel="xet-auth"'
        self._send_json({}, 302, headers | linked | {"Location": f"{self.hub.other_host}/lfs/{digest}"})

    def _repo(self, name: str) -> Repo | None:
        """Answers itself, and gives None, where the model isn't for the one who asks."""
        repo, token = self.hub.repos.get(name), self.headers.get("Authorization")
        if token is not None and token != f"Bearer {TOKEN}":
            self._send_json({"error": "token"}, 401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None or (repo.private and token is None):
            self._send_json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        else:
            return repo
        return None

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization') or 'somebody'}/{wanted['name']}"
        if name in self.hub.repos:
            self._send_json({"error": "exists", "url": f"{self.hub.address}/{name}"}, 409)
            return
        self.hub.add(name, {}, private=wanted.get("visibility") == "private")
        self._send_json({"url": f"{self.hub.address}/{name}", "id": name})

    def _upload_of(self, wanted: dict[str, Any]) -> dict[str, Any]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] in self.hub.blobs:
            return entry
        return entry | {"actions": {"upload": {"href": f"{self.hub.address}/upload/{wanted['oid']}"}}}

    def _commit(self, name: str, body: bytes) -> None:
        repo = self.hub.repos[name]
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.blobs[value["oid"]]
        self._send_json({"commitUrl": f"{self.hub.address}/{name}/commit/{repo.commit}", "commitOid": repo.commit})

    # ---- ModelScope ----

    def _modelscope(self, parts: list[str], query: Mapping[str, list[str]]) -> None:
        repo = self.hub.repos.get("/".join(parts[3:5]))
        if repo is None or query["Revision"][0] not in ("master", "v1"):
            self._send_json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
        elif parts[5:] == ["repo", "files"]:
            files = [{"Path": "somewhere", "Type": "tree", "Size": 0, "Sha256": ""}]
            for path, data in repo.files.items():
                entry = {"Path": path, "Name": path, "Type": "blob", "Size": len(data), "Sha256": sha256(data)}
                files.append(entry | self.hub.announced.get(path, {}))
            self._send_json({"Code": 200, "Success": True, "Data": {"Files": files}})
        else:
            self._send_file(repo.files.get(query["FilePath"][0]), {})

    # ---- answers ----

    def _begin(self) -> bool:
        """Notes the request down; whether a fault has answered it."""
        self.hub.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        self.switch = self.hub.take_switch(self.command, self.path)
        if self.switch is not None and self.switch.fault is Fault.STATUS:
            self._send_json({"error": "a fault"}, self.switch.status, self.switch.headers)
            return True
        if self.switch is not None and self.switch.fault is Fault.ELSEWHERE:
            self._send_json({}, 302, {"Location": self.switch.location})
            return True
        return False

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _send_json(self, data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._send(json.dumps(data).encode(), status, {"Content-Type": "application/json"} | dict(headers or {}))

    def _send(self, body: bytes, status: int, headers: Mapping[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

    def _send_file(self, data: bytes | None, headers: Mapping[str, str]) -> None:
        if data is None:
            self._send_json({"error": "not found"}, 404)
            return
        fault, size = None if self.switch is None else self.switch.fault, len(data)
        if fault is Fault.CHANGED:
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault is Fault.LONGER:
            data += b"more"
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        cut = self.switch.amount if self.switch is not None and fault is Fault.CUT else None
        if start == 0 or fault is Fault.NO_RANGE:
            self._send(data, 200, headers, cut)
        elif start >= size:
            self._send(b"", 416, {"Content-Range": f"bytes */{size}"})
        elif fault is Fault.QUIET_RANGE:
            self._send(data[start:], 200, headers, cut)
        else:
            self._send(data[start:], 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"} | dict(headers), cut)


def _mode(size: int) -> str:
    return "lfs" if size >= LFS_FROM else "regular"

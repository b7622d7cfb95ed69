"""The Hugging Face hub, by its own library: which endpoint, token, cache and offline mode are in force says that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.hub.http import (
    Body,
    HttpClient,
    HttpError,
    Retries,
    Trouble,
    bearer,
    describe_failure,
    describe_status,
)
from omnilmm_lite.hub.remote_file import SHA1, RemoteFile
from omnilmm_lite.hub.repository import HttpRepository
from omnilmm_lite.hub.source import Source

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

MAIN = "main"
GET_TOKEN = "get one at {endpoint}/settings/tokens, then `hf auth login` or HF_TOKEN"


class OfflineError(OmniLMMError):
    """HF_HUB_OFFLINE is set."""


class HuggingFaceRepository(HttpRepository):
    """A model at one commit."""

    def __init__(self, client: HttpClient, source: Source, info: ModelInfo) -> None:
        from huggingface_hub import constants, get_token

        if info.sha is None or not SHA1.fullmatch(info.sha):
            raise OmniLMMError(f"{hub_host()}: it answers like no hub of Hugging Face's; is HF_ENDPOINT right?")
        self.commit = info.sha
        self._endpoint, self._name = constants.ENDPOINT, source.name
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        headers = {} if token is None else bearer(token, "HF_TOKEN")
        super().__init__(client, f"{hub_host()}/{source.name}@{info.sha}", headers)
        self._files = {each.rfilename: each for each in info.siblings or ()}

    @classmethod
    def ask(cls, client: HttpClient, source: Source, note: Callable[[str], None]) -> HuggingFaceRepository:
        """Asks the hub what the model has. OfflineError where that isn't allowed, HttpError where it can't be asked,
        InputError for a model or version that it doesn't have or give away."""
        retries = Retries(note)
        while True:
            try:
                with library_errors(source):
                    info = hub_api().model_info(source.name, revision=source.revision, files_metadata=True, timeout=30)
                    return cls(client, source, info)
            except HttpError as error:
                retries.wait(error)

    def find(self, path: str) -> RemoteFile | None:
        found = self._files.get(path)
        if found is None:
            return None
        if found.size is None:
            raise OmniLMMError(f"{self.origin}: the hub announces no size for {printable(path)}")
        lfs = found.lfs
        sha256 = None if lfs is None else lfs.sha256
        size = found.size if lfs is None else lfs.size
        return RemoteFile(path, size, sha256, git_id=None if lfs is not None else found.blob_id)

    def read(self, path: str) -> bytes:
        with self._refusals_told():
            return super().read(path)

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[Body]:
        with self._refusals_told(), super().open(file, start) as body:
            yield body

    @contextmanager
    def _refusals_told(self) -> Iterator[None]:
        """A model may be shown to everybody and given to some."""
        try:
            yield
        except HttpError as error:
            if error.status not in (401, 403):
                raise
            raise InputError(_gated(self._name)) from error

    def address(self, path: str) -> str:
        return f"{self._endpoint}/{self._name}/resolve/{self.commit}/{quote(path)}"


def hub_api() -> HfApi:
    from huggingface_hub import HfApi, constants

    return HfApi(endpoint=constants.ENDPOINT, library_name="omnilmm-lite")


def hub_host() -> str:
    """Who is asked: huggingface.co, or what HF_ENDPOINT says."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT


def cache_folder() -> Path:
    """Where every program of this user has its models from Hugging Face."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def repo_folder(name: str) -> str:
    """A model's folder in the cache."""
    return "--".join(["models", *name.split("/")])


def cached_snapshot(source: Source) -> Path | None:
    """The folder of a version that is in the cache, whole or in part; None where it isn't."""
    from huggingface_hub import try_to_load_from_cache

    for path in ("config.json", "manifest.json"):
        found = try_to_load_from_cache(source.name, path, cache_folder(), source.revision or MAIN)
        if isinstance(found, str):
            return Path(found).parent
    return None


@contextmanager
def library_errors(source: Source) -> Iterator[None]:
    """Turns what the library raises into one line."""
    import httpx2
    from huggingface_hub import errors

    host, name = hub_host(), source.name
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise OfflineError(f"{name}: HF_HUB_OFFLINE is set, and the cache doesn't have it; unset it") from error
    except errors.GatedRepoError as error:
        raise InputError(_gated(name)) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{host} has no model {name}, or hides it: check the name; a private one wants a token: {_token_advice()}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{host}/{name} has no version {source.revision}; leave --revision out for the newest"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise InputError(f"{host}: it doesn't know this token, or wants one: {_token_advice()}") from error
        raise describe_status(host, status, error.response.headers.get("Retry-After")) from error
    except httpx2.HTTPError as error:
        raise describe_failure(error, host) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # what reads the answer meets another program's
        raise HttpError(
            f"{host}: it answers like no hub of Hugging Face's; is HF_ENDPOINT right?", Trouble.FINAL
        ) from error


def _token_advice() -> str:
    from huggingface_hub import constants

    return GET_TOKEN.format(endpoint=constants.ENDPOINT)


def _gated(name: str) -> str:
    from huggingface_hub import constants

    page = f"{constants.ENDPOINT}/{name}"
    return f"{name} is for those who have agreed to its terms: agree on {page}, then {_token_advice()}"

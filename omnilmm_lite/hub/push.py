"""Uploads a bundle to the Hugging Face hub, for others to pull: verified first, with a page made of its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import MANIFEST
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.hub.http import HttpClient
from omnilmm_lite.hub.huggingface import GET_TOKEN, HuggingFaceRepository, hub_api, hub_host, library_errors
from omnilmm_lite.hub.model_card import MARK, model_card
from omnilmm_lite.hub.remote_file import check_path
from omnilmm_lite.hub.source import Hub, Source

CARD = "README.md"


@dataclass(frozen=True)
class PushTarget:
    """A repository that a bundle goes to; `exists` and `is_private` as the hub says, or as it will be made."""

    repo: str
    host: str
    exists: bool
    is_private: bool


def find_target(repo: str, *, private: bool) -> PushTarget:
    """Asks the hub about OWNER/NAME, which needs a token. InputError without one, or for a name that can't be."""
    from huggingface_hub import constants, errors, get_token

    source = Source.parse(repo, Hub.HUGGING_FACE)
    if get_token() is None:
        raise InputError(f"{hub_host()}: to upload, it wants a token: {GET_TOKEN.format(endpoint=constants.ENDPOINT)}")
    with library_errors(source):
        try:
            info = hub_api().model_info(source.name, timeout=30)
        except errors.RepositoryNotFoundError:
            return PushTarget(source.name, hub_host(), exists=False, is_private=private)
    if private and not info.private:
        raise InputError(f"--private: {source.name} is there and public; make it private on its page, or take another")
    return PushTarget(source.name, hub_host(), exists=True, is_private=bool(info.private))


def push(bundle: Bundle, target: PushTarget, note: Callable[[str], None]) -> str:
    """Verifies the bundle, makes the repository where it isn't there, and uploads; gives the commit's address.

    What is on the hub already isn't sent again, so that a stopped upload goes on. InputError where the bundle is
    damaged or the token may not write there; HttpError (an OmniLMMError) or OmniLMMError where the upload fails.
    """
    from huggingface_hub import CommitOperationAdd

    for entry in bundle.manifest.files:
        check_path(entry.path)
    bundle.verify()
    api, source = hub_api(), Source(Hub.HUGGING_FACE, target.repo)
    operations = [
        CommitOperationAdd(path, str(bundle.path(path).resolve()))
        for path in (MANIFEST, *(entry.path for entry in bundle.manifest.files))
    ]
    with library_errors(source), _upload_errors(target):
        if not target.exists:
            api.create_repo(target.repo, private=target.is_private, exist_ok=True)
        if target.exists and not _is_ours(target, note):
            note(f"{target.repo}: its {CARD} is somebody's own and stays as it is")
        else:
            operations.append(CommitOperationAdd(CARD, model_card(bundle.manifest, target.repo).encode()))
        commit = api.create_commit(target.repo, operations, commit_message=_message(bundle))
    return str(commit.commit_url)


def _is_ours(target: PushTarget, note: Callable[[str], None]) -> bool:
    """Whether the page may be written: it isn't there, or an earlier push has made it."""
    with HttpClient(note) as client:
        repository = HuggingFaceRepository.ask(client, Source(Hub.HUGGING_FACE, target.repo), note)
        if repository.find(CARD) is None:
            return True
        return MARK in repository.read(CARD).decode(errors="replace")


@contextmanager
def _upload_errors(target: PushTarget) -> Iterator[None]:
    """What only an upload meets; all else goes on as it is."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        cause = error.__cause__  # of the library's own words about a file
        found = cause if isinstance(cause, httpx2.HTTPError) and not isinstance(error, httpx2.HTTPError) else error
        if isinstance(found, errors.HfHubHTTPError) and found.response.status_code == 403:
            raise InputError(
                f"{target.host}: this token may not write to {target.repo}: take one that may, or another name"
            ) from error
        if isinstance(found, errors.HfHubHTTPError) and found.response.status_code != 400:
            raise found from error
        if isinstance(found, httpx2.HTTPError) and not isinstance(found, errors.HfHubHTTPError):
            raise found from error
        if isinstance(found, errors.OfflineModeIsEnabled):
            raise
        what = " ".join(str(getattr(found, "server_message", None) or found).split())
        raise OmniLMMError(
            f"{target.host}: the upload failed ({printable(what)}); the same command goes on where it was"
        ) from error


def _message(bundle: Bundle) -> str:
    manifest = bundle.manifest
    return f"Bundle of omnilmm-lite {manifest.tool_version}, preset {manifest.preset}"

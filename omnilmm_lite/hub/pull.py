"""Fetches a model: what is needed of it, into a place that is checked first; gone on with after any interruption."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.home.folder import checkpoints_folder
from omnilmm_lite.home.model_record import ModelKind
from omnilmm_lite.home.models import ModelStore
from omnilmm_lite.hub.choice import Choice, choose, is_published
from omnilmm_lite.hub.destination import CacheDestination, Destination, FolderDestination, free_bytes
from omnilmm_lite.hub.download import DownloadEvents, download
from omnilmm_lite.hub.http import HttpClient, HttpError
from omnilmm_lite.hub.huggingface import (
    MAIN,
    HuggingFaceRepository,
    OfflineError,
    cache_folder,
    cached_snapshot,
    hub_host,
    repo_folder,
)
from omnilmm_lite.hub.mirror import MirrorRepository
from omnilmm_lite.hub.modelscope import ModelScopeRepository, modelscope_endpoint
from omnilmm_lite.hub.remote_file import RemoteFile
from omnilmm_lite.hub.repository import FolderRepository, Repository
from omnilmm_lite.hub.source import Hub, Source, is_folder

WEIGHTS = (".bin", ".safetensors")


@dataclass(frozen=True)
class Pulled:
    """A model that is here, whole. `origin`: where it is from, for records, such as
    huggingface.co/openbmb/OmniLMM-12B@COMMIT."""

    folder: Path
    kind: ModelKind
    origin: str


@dataclass(frozen=True)
class PullPlan:
    """What is about to be fetched, in bytes. `free`: what may be written at `folder`. `config`: a checkpoint's
    config.json."""

    origin: str
    folder: Path
    kind: ModelKind
    size: int
    missing: int  # of these, what isn't here yet
    free: int
    config: bytes


class PullListener(Protocol):
    """Who is told how a model comes."""

    def note(self, line: str) -> None:
        """Something to know: who is connected to, what is tried again."""

    def planned(self, plan: PullPlan) -> bool:
        """Before the first byte of it; False where it isn't wanted after all."""

    def file(self, path: str, size: int) -> None:
        """The next file begins."""

    def received(self, count: int) -> None:
        """Bytes of it that are here; fewer than none where they have to come again."""


class NotWantedError(OmniLMMError):
    """The listener has said no."""


def pull(source: Source, listener: PullListener, to: Path | None = None) -> Pulled:
    """Fetches what conversion needs of a checkpoint, or a bundle, which is then verified.

    `to`: the folder for it. Else Hugging Face's models go into the cache that all programs share, those of others into
    this user's own place, and a folder is used where it lies. InputError, HttpError (an OmniLMMError) or OmniLMMError,
    one line each, for whatever keeps the model from coming; NotWantedError where the listener doesn't want it.
    """
    if source.hub is Hub.FOLDER:
        return _pull_folder(source, listener, to)
    with HttpClient(listener.note) as client:
        if source.hub is Hub.HUGGING_FACE:
            return _pull_hugging_face(source, listener, to, client)
        repository: Repository
        if source.hub is Hub.MODELSCOPE:
            listener.note(f"connecting to {modelscope_endpoint()}")
            repository = ModelScopeRepository(client, source)
        else:
            listener.note(f"connecting to {source.shown}")
            repository = MirrorRepository(client, source)
        choice = choose(repository, source)
        place = to or _own_place(source, choice.kind)
        return _fetch(repository, choice, FolderDestination(place), listener)


def _pull_folder(source: Source, listener: PullListener, to: Path | None) -> Pulled:
    folder = source.folder
    if not is_folder(folder):
        raise InputError(f"{printable(source.name)}: there is no such folder")
    repository = FolderRepository(folder)
    choice = choose(repository, source)
    if to is not None:
        if to.resolve() == folder.resolve():
            raise InputError(f"--to: {to} is the folder that is to be fetched; leave it out to use it where it lies")
        return _fetch(repository, choice, FolderDestination(to), listener)
    return _checked(Pulled(folder, choice.kind, repository.origin), listener)


def _pull_hugging_face(source: Source, listener: PullListener, to: Path | None, client: HttpClient) -> Pulled:
    listener.note(f"connecting to {hub_host()}")
    try:
        repository = HuggingFaceRepository.ask(client, source, listener.note)
    except (OfflineError, HttpError) as error:
        cached = _whole_snapshot(source) if to is None else None
        if cached is None:
            raise
        reason = "HF_HUB_OFFLINE is set" if isinstance(error, OfflineError) else str(error)
        listener.note(f"{reason}; the version that is in the cache is taken")
        return _checked(cached, listener)
    choice = choose(repository, source)
    destination: Destination
    if to is not None:
        destination = FolderDestination(to)
    else:
        repo, revision = repo_folder(source.name), source.revision or MAIN
        destination = CacheDestination(cache_folder(), repo, repository.commit, revision)
    return _fetch(repository, choice, destination, listener)


def _whole_snapshot(source: Source) -> Pulled | None:
    """What Hugging Face's cache has of a version, if that is all that is needed."""
    folder = cached_snapshot(source)
    if folder is None:
        return None
    try:
        choice = choose(FolderRepository(folder), Source(Hub.FOLDER, str(folder)))
    except OmniLMMError:  # a part of it
        return None
    return Pulled(folder, choice.kind, f"{hub_host()}/{source.name}@{folder.name}")


def _own_place(source: Source, kind: ModelKind) -> Path:
    if kind is ModelKind.BUNDLE:
        return ModelStore.here().folder(source.short_name)
    if source.hub is Hub.MODELSCOPE:
        return checkpoints_folder().joinpath(*source.name.split("/"))
    return checkpoints_folder() / source.short_name


def _fetch(repository: Repository, choice: Choice, destination: Destination, listener: PullListener) -> Pulled:
    folder = destination.folder
    if isinstance(destination, FolderDestination) and folder.is_dir():
        listener.note(f"checking what {folder} has already")
    there = {file: place for file in choice.files if (place := destination.find(file)) is not None}
    missing = sum(_missing(file, destination) for file in choice.files if file not in there)
    free = free_bytes(folder)
    plan = PullPlan(repository.origin, folder, choice.kind, choice.size, missing, free, choice.config)
    if missing > free:
        raise OmniLMMError(
            f"{folder}: {shown_size(missing)} are to come, and there is room for {shown_size(free)}: make room, or "
            "name a folder on another disk with --to"
        )
    if not listener.planned(plan):
        raise NotWantedError(f"{repository.origin}: nothing was fetched")
    with destination.owned():
        for file in choice.files:
            listener.file(file.path, file.size)
            # another run may have fetched it while this one waited for an answer
            place = there.get(file) or destination.find(file)
            if place is not None:
                listener.received(file.size)
            else:
                place = _fetch_file(repository, file, destination.partial(file), listener)
            destination.keep(file, place)
        destination.close()
    return _checked(Pulled(folder, choice.kind, repository.origin), listener)


def _missing(file: RemoteFile, destination: Destination) -> int:
    """Bytes of a file that isn't there which are still to come."""
    partial = destination.partial(file)
    return max(0, file.size - partial.stat().st_size) if partial.is_file() else file.size


def _fetch_file(repository: Repository, file: RemoteFile, partial: Path, listener: PullListener) -> Path:
    found = download(repository, file, partial, DownloadEvents(listener.received, listener.note))
    if file.expected is None and file.path.endswith(WEIGHTS):
        whose = is_published(found)
        known = f", that of {whose} as published" if whose else ": nobody there says what it should be"
        listener.note(f"{file.path}: its SHA-256 is {found}{known}")
    return partial


def _checked(pulled: Pulled, listener: PullListener) -> Pulled:
    """A bundle's files are all hashed: those that were here before, too."""
    if pulled.kind is ModelKind.BUNDLE:
        listener.note("verifying the bundle")
        Bundle.open(pulled.folder).verify()
    return pulled

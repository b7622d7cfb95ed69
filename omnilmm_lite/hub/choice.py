"""Which of a repository's files are needed: those that conversion reads, or a bundle's by its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from omnilmm_lite.bundle.manifest import MANIFEST, Manifest
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.json_file import parse_json_object
from omnilmm_lite.files.printable import printable
from omnilmm_lite.home.model_record import ModelKind
from omnilmm_lite.hub.remote_file import RemoteFile, check_path
from omnilmm_lite.hub.repository import Repository
from omnilmm_lite.hub.source import Hub, Source

CONFIG = "config.json"
# Read at conversion as far as they are there; of the tokenizer's, the first is needed.
TOKENIZER = "tokenizer.model"
BESIDES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json")
# One file or an index of shards: conversion takes the first that is there.
WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
MOST_SHARDS = 1000
# What the publisher uploaded. Elsewhere under the same name it has to be the same.
PUBLISHED = {
    ("openbmb/OmniLMM-12B", "pytorch_model.bin"): "a8b8bc958406ad8de704860fc9d772e16aff0c1759936eaacbf82c5912d68654",
}


@dataclass(frozen=True)
class Choice:
    """The files to fetch, small ones first. `config`: config.json of a checkpoint; empty for a bundle."""

    kind: ModelKind
    files: tuple[RemoteFile, ...]
    config: bytes = b""

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


def choose(repository: Repository, source: Source) -> Choice:
    """InputError where the repository holds neither a whole checkpoint nor a whole bundle."""
    if (manifest := repository.find(MANIFEST)) is not None:
        return Choice(ModelKind.BUNDLE, tuple(_bundle_files(repository, manifest)))
    files = [_needed(repository, CONFIG), _needed(repository, TOKENIZER)]
    files += [found for name in BESIDES if (found := repository.find(name)) is not None]
    weights = _weights(repository)
    if source.revision is None and source.hub in (Hub.HUGGING_FACE, Hub.MODELSCOPE):
        weights = [_as_published(file, source.name, repository.origin) for file in weights]
    return Choice(ModelKind.CHECKPOINT, (*files, *weights), repository.read(CONFIG))


def short(digest: str | None) -> str:
    """A hash in an error's line, which has room for a part of it."""
    return f"{(digest or '')[:16]}..."


def is_published(sha256: str) -> str | None:
    """Whose weights these are, where they are a publisher's."""
    return next((name for (name, _), known in PUBLISHED.items() if known == sha256), None)


def _needed(repository: Repository, path: str) -> RemoteFile:
    found = repository.find(path)
    if found is None:
        raise InputError(
            f"{repository.origin} has no {path}, so it is neither a checkpoint of OmniLMM nor a bundle; "
            "openbmb/OmniLMM-12B and openbmb/RLAIF-V-12B are checkpoints"
        )
    return found


def _bundle_files(repository: Repository, manifest: RemoteFile) -> Iterator[RemoteFile]:
    """The manifest's files, each with the hash that it names."""
    yield manifest
    where = Path(f"{repository.origin}/{MANIFEST}")
    text = repository.read(MANIFEST).decode(errors="replace")
    for entry in Manifest.from_json(text, where).files:
        found = repository.find(_checked(entry.path))
        if found is None:
            raise InputError(f"{repository.origin} has no {entry.path}, which its manifest lists; tell who uploaded it")
        if found.size != entry.size or (found.sha256 or entry.sha256) != entry.sha256:
            raise InputError(f"{repository.origin}: {entry.path} isn't what its manifest says; tell who uploaded it")
        yield replace(found, sha256=entry.sha256)


def _checked(path: str) -> str:
    check_path(path)
    return path


def _weights(repository: Repository) -> list[RemoteFile]:
    """Safetensors where a complete set is there, else torch's files."""
    absent = []
    for single, index in WEIGHTS:
        if (found := repository.find(single)) is not None:
            return [found]
        listed = repository.find(index)
        if listed is None:
            continue
        shards = _shard_names(repository, index)
        files = {name: repository.find(name) for name in shards}
        whole = [file for file in files.values() if file is not None]
        if len(whole) == len(files):
            return [listed, *whole]
        absent += [f"{index} lists {name}" for name, file in files.items() if file is None]
    if absent:
        raise InputError(f"{repository.origin} lacks a part of its weights: {absent[0]}, which isn't there")
    names = ", ".join(name for pair in WEIGHTS for name in pair)
    raise InputError(f"{repository.origin} has no weights: none of {names} is there")


def _shard_names(repository: Repository, index: str) -> list[str]:
    where = f"{repository.origin}/{index}"
    weight_map = parse_json_object(repository.read(index), where).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise InputError(f"{where} has no weight_map from tensors to files; take another model")
    names = sorted(set(weight_map.values()))
    ending = "." + index.removesuffix(".index.json").rpartition(".")[2]
    for name in names:
        check_path(name)
        if "/" in name or not name.endswith(ending):
            raise InputError(f"{where} names the shard {printable(name)}; a {ending} file beside it is needed")
    if not 0 < len(names) <= MOST_SHARDS:
        raise InputError(f"{where} names {len(names)} files of weights; 1 to {MOST_SHARDS} can be taken")
    return names


def _as_published(file: RemoteFile, model: str, origin: str) -> RemoteFile:
    """With the publisher's hash, where one is known; OmniLMMError where the hub announces another."""
    known = PUBLISHED.get((model, file.path))
    if known is None:
        return file
    if file.sha256 not in (None, known):
        raise OmniLMMError(
            f"{origin}: {file.path} has the SHA-256 {short(file.sha256)}, {model} was published with {short(known)}; "
            "if new weights were published, take them by their commit with --revision"
        )
    return replace(file, sha256=known)

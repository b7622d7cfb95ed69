"""How a bundle comes to the workers: it lies there, is pulled from a hub, or goes through Ray's object store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import durable_folder
from omnilmm_lite.files.owner_lock import lock_path
from omnilmm_lite.home.chosen_model import is_builtin
from omnilmm_lite.home.folder import home_folder, make_folder

PIECE_BYTES = 64 * 2**20


class Way(Enum):
    PATH = "path"  # the same folder on every node: a shared file system, or copied beforehand
    PULL = "pull"
    STORE = "store"


@dataclass(frozen=True)
class Delivery:
    """`model`: a folder (None: the built-in model), or with PULL what `pull` is told. `identity`: the bundle's, which
    a worker must find. `pieces`: of each file the references to its pieces, with STORE."""

    way: Way
    model: str | None
    identity: str
    pieces: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def deliver(bundle: Bundle, way: Way, model: str | None, put: Callable[[bytes], Any]) -> Delivery:
    """What workers are told. `put` gives a reference to bytes in the object store."""
    if is_builtin(model):
        return Delivery(Way.PATH, None, bundle.identity)  # it is in the package
    if way is not Way.STORE:
        given = model if way is Way.PULL else str(bundle.folder.resolve())
        return Delivery(way, given, bundle.identity)
    from omnilmm_lite.bundle.manifest import MANIFEST

    names = [MANIFEST, *(entry.path for entry in bundle.manifest.files)]
    pieces = {name: [put(piece) for piece in _pieces(bundle.path(name))] for name in names}
    return Delivery(way, None, bundle.identity, pieces)


def received(delivery: Delivery, get: Callable[[Any], bytes]) -> str | None:
    """On a worker: the folder of the bundle, whole, or None for the built-in model. InputError where it is another
    one, or damaged. `get` gives what a reference stands for."""
    if delivery.way is Way.STORE:
        folder: str | None = str(_stored(delivery, get))
    elif delivery.way is Way.PULL:
        folder = _pulled(str(delivery.model))
    else:
        folder = delivery.model
    bundle = Bundle.find(folder)
    if bundle.identity != delivery.identity:
        raise InputError(f"{bundle.folder}: this is {bundle.identity}, and the driver's bundle is {delivery.identity}")
    if folder is not None and delivery.way is not Way.PULL:  # which has just verified it
        bundle.verify()
    return folder


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _stored(delivery: Delivery, get: Callable[[Any], bytes]) -> Path:
    """Once a node: workers that come meanwhile wait."""
    import filelock

    parent = home_folder() / "cluster"
    make_folder(parent)
    folder = parent / delivery.identity
    with filelock.FileLock(lock_path(folder)):
        if not folder.is_dir():
            with durable_folder(folder) as partial:
                for name, pieces in delivery.pieces.items():
                    place = partial / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with place.open("wb") as file:
                        for piece in pieces:
                            file.write(get(piece))
    return folder


def _pulled(name: str) -> str:
    from omnilmm_lite.hub.pull import PullPlan, pull
    from omnilmm_lite.hub.source import Source

    class Quiet:
        def note(self, line: str) -> None: ...

        def planned(self, plan: PullPlan) -> bool:
            return True

        def file(self, path: str, size: int) -> None: ...

        def received(self, count: int) -> None: ...

    return str(pull(Source.parse(name), Quiet()).folder)

"""`omnilmm-lite models`: what is there, which one is the default, and what goes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.size import shown_size

if TYPE_CHECKING:
    from omnilmm_lite.home.models import ModelStore, StoredModel

YES = ("y", "yes")
YES_HELP = "don't ask"


def add_models(parser: argparse.ArgumentParser) -> None:
    parser.description = "Lists the models that `setup` and `pull` have put by name; --model takes these names."
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=list_models)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    default = actions.add_parser("default", help="take this model where none is named")
    default.add_argument("name", metavar="NAME")
    default.set_defaults(command=set_default)
    remove = actions.add_parser("remove", help="remove a model, and what it was made from")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--yes", action="store_true", help=YES_HELP)
    remove.set_defaults(command=remove_model)
    free = actions.add_parser("free", help="keep a model, and remove the download that it was made from")
    free.add_argument("name", metavar="NAME")
    free.add_argument("--yes", action="store_true", help=YES_HELP)
    free.set_defaults(command=free_sources)
    names = actions.add_parser("names", help="print the names alone, a line each")
    names.set_defaults(command=print_names)
    path = actions.add_parser("path", help="print the folder of a model, or of all")
    path.add_argument("name", metavar="NAME", nargs="?")
    path.set_defaults(command=print_path)


def list_models(args: argparse.Namespace) -> None:
    """A line a model. One that can't be read is named on stderr and hides no other."""
    from omnilmm_lite.home.models import ModelStore

    store = ModelStore.here()
    names, rows = store.names(), []
    try:
        default = store.default()
    except InputError as error:
        default = None
        print(error, file=sys.stderr)
    for name in names:
        try:
            if (model := store.find(name)) is not None:
                rows.append(_row(model, is_default=name == default))
        except InputError as error:
            print(error, file=sys.stderr)
    if args.json:
        print(json.dumps({"folder": str(store.models_folder), "models": rows}, ensure_ascii=False))
    elif rows:
        _print_rows(rows)
    elif not names:
        print(f"{store.models_folder}: no models yet; `omnilmm-lite setup` gets one", file=sys.stderr)


def set_default(args: argparse.Namespace) -> None:
    """Makes a model the default."""
    from omnilmm_lite.home.models import ModelStore

    ModelStore.here().set_default(args.name)
    print(f"{args.name} is the default now", file=sys.stderr)


def print_path(args: argparse.Namespace) -> None:
    """Prints one line on stdout, for scripts."""
    from omnilmm_lite.home.models import ModelStore

    store = ModelStore.here()
    print(store.models_folder if args.name is None else store.get(args.name).folder)


def print_names(args: argparse.Namespace) -> None:
    """A line a model on stdout, for scripts."""
    from omnilmm_lite.home.models import ModelStore

    for name in ModelStore.here().names():
        print(name)


@dataclass(frozen=True)
class Freed:
    """A folder that goes, and its bytes."""

    folder: Path
    size: int


def remove_model(args: argparse.Namespace) -> None:
    """Asks, then removes the model and what was kept of its making. OmniLMMError where the answer is no."""
    from omnilmm_lite.home.models import ModelStore

    store = ModelStore.here()
    folder = store.folder(args.name)
    if args.name not in store.names():
        store.get(args.name)  # says so
    own = [Freed(folder, _size(folder))] if folder.is_dir() else []
    sources = _sources(store, args.name)
    _ask("remove", args.name, [*own, *sources], args.yes)
    kept = _kept(store, args.name, sources)
    for freed in sources:
        _remove(freed.folder)
    store.remove(args.name)
    _tell_freed(args.name, [*own, *sources], kept)


def free_sources(args: argparse.Namespace) -> None:
    """Asks, then removes what a finished model was made from. OmniLMMError where the answer is no."""
    from omnilmm_lite.home.models import ModelStore

    store = ModelStore.here()
    store.get(args.name)
    sources = _sources(store, args.name)
    if sources:
        _ask("remove what it was made from, and keep", args.name, sources, args.yes)
    kept = _kept(store, args.name, sources)
    for freed in sources:
        _remove(freed.folder)
    _tell_freed(args.name, sources, kept)


def confirmed(question: str, command: str) -> bool:
    """What the person at the terminal answers; InputError, with `command` to give instead, where nobody sits there."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(f"this has to be confirmed, and there is no terminal to ask at: `{command}` goes on")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in YES


def _ask(what: str, name: str, freed: Iterable[Freed], yes: bool) -> None:
    for each in freed:
        print(f"{each.folder}: {shown_size(each.size)}", file=sys.stderr)
    if not yes and not confirmed(f"{what} {name}?", f"omnilmm-lite models {what.split()[0]} {name} --yes"):
        raise OmniLMMError(f"{name}: nothing was removed")


def _tell_freed(name: str, freed: Iterable[Freed], kept: str) -> None:
    print(f"{name}: {shown_size(sum(each.size for each in freed))} freed{kept}", file=sys.stderr)


def _sources(store: ModelStore, name: str) -> list[Freed]:
    """The work folder of its making; the checkpoint that was fetched for it, if no other model was made from that, with
    what the torch engine has kept beside it;
    what lies outside the home folder is somebody else's."""
    from omnilmm_lite.home.folder import checkpoints_folder, work_folder
    from omnilmm_lite.weights import Weights, kept_weights

    folders = [work_folder(name)]
    checkpoint = _checkpoint(store, name)
    others = {_checkpoint(store, other) for other in store.names() if other != name}
    if checkpoint is not None and checkpoint not in others and checkpoints_folder() in checkpoint.parents:
        folders += [checkpoint, *(kept_weights(checkpoint, weights) for weights in Weights if weights.is_quantized)]
    return [Freed(folder, _size(folder)) for folder in folders if folder.is_dir()]


def _kept(store: ModelStore, name: str, sources: Iterable[Freed]) -> str:
    """What is said of a checkpoint that stays: others may use it."""
    from omnilmm_lite.home.snapshot import Snapshot

    checkpoint = _checkpoint(store, name)
    if checkpoint is None or not checkpoint.is_dir() or checkpoint in [each.folder for each in sources]:
        return ""
    cached = Snapshot.of(checkpoint)
    how = f"; `hf cache rm model/{cached.repo}` removes it for all programs" if cached else ""
    return f"; {checkpoint}, which it was made from, stays{how}"


def _checkpoint(store: ModelStore, name: str) -> Path | None:
    try:
        model = store.find(name)
    except InputError:
        return None
    return None if model is None else model.record.checkpoint


def _remove(folder: Path) -> None:
    from omnilmm_lite.files.owner_lock import sole_owner
    from omnilmm_lite.home.models import remove_folder

    with sole_owner(folder):
        remove_folder(folder)


def _row(model: StoredModel, *, is_default: bool) -> dict[str, Any]:
    """What the list says of a model; figures are None where it has none."""
    from omnilmm_lite.bundle.manifest import MANIFEST, Manifest
    from omnilmm_lite.bundle.report_fields import numbers
    from omnilmm_lite.home.model_record import ModelKind

    row: dict[str, Any] = {
        "name": model.name, "default": is_default, "kind": model.kind.value, "size": _size(model.folder),
        "preset": None, "target": None, "origin": model.record.origin, "mean_kld": None, "top1_agreement": None,
        "folder": str(model.folder),
    }  # fmt: skip
    if model.kind is ModelKind.BUNDLE:
        file = model.folder / MANIFEST
        try:
            manifest = Manifest.from_json(file.read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{model.name}: {file} can't be read; `omnilmm-lite setup` makes the model anew") from None
        source = manifest.source.get("folder")
        row |= {"preset": manifest.preset, "target": manifest.target.value}
        row["origin"] = row["origin"] or (source if isinstance(source, str) else None)
        if found := numbers(manifest.parity.get("quality"), "mean_kld", "top1_agreement"):
            row |= {"mean_kld": found[0], "top1_agreement": found[1]}
    return row


def _print_rows(rows: Iterable[dict[str, Any]]) -> None:
    from rich.table import Table

    from omnilmm_lite.console import table_console

    table = Table("", "model", "size", "preset", "KLD", "same top token", "from", show_edge=False)
    for row in rows:
        kld = "" if row["mean_kld"] is None else f"{row['mean_kld']:.4f}"
        agreement = "" if row["top1_agreement"] is None else f"{row['top1_agreement']:.1%}"
        preset = row["preset"] or "a checkpoint"
        mark = "*" if row["default"] else ""
        table.add_row(mark, row["name"], shown_size(row["size"]), preset, kld, agreement, row["origin"] or "")
    table_console().print(table)


def _size(folder: Path) -> int:
    """Bytes of all files below; one with two names counts once."""
    found = (file.stat() for file in folder.rglob("*") if file.is_file())
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())

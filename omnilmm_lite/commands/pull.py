"""`omnilmm-lite pull`: fetches a model, and says what it will take and what to do next."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.size import shown_size

if TYPE_CHECKING:
    from rich.progress import TaskID

    from omnilmm_lite.config import OmniLMMConfig
    from omnilmm_lite.hub.pull import Pulled, PullPlan
    from omnilmm_lite.hub.source import Source

ReadConfig = Callable[[Path], "OmniLMMConfig"]  # a checkpoint's folder -> its config

PRESET = "cpu"  # convert's own choice
FROM = {"huggingface": "HUGGING_FACE", "modelscope": "MODELSCOPE"}


def add_pull(parser: argparse.ArgumentParser, read_config: ReadConfig) -> None:
    """`read_config` knows checkpoints, which the runtime does not."""
    parser.description = (
        "Fetches what conversion needs of a model, or a ready bundle, and checks it. NAME: openbmb/OmniLMM-12B, "
        "openbmb/RLAIF-V-12B or another model of a hub; ms: in front for ModelScope; the address of a mirror's folder; "
        "or a folder. May be stopped at any time: the same command goes on. HF_ENDPOINT, HF_TOKEN, HF_HOME, "
        "HF_HUB_OFFLINE and the usual variables for proxies are kept to. See docs/models.md."
    )
    parser.add_argument(
        "name", metavar="NAME", help="OWNER/MODEL, hf:OWNER/MODEL, ms:OWNER/MODEL, https://... or a folder"
    )
    parser.add_argument("--from", dest="hub", choices=list(FROM), help="the hub (default: huggingface)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: the newest)")
    places = "folder to fill (default: Hugging Face's cache; of other hubs and mirrors, this user's own place)"
    parser.add_argument("--to", type=Path, metavar="FOLDER", help=places)
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.set_defaults(command=lambda args: pull_command(args, read_config))


def pull_command(args: argparse.Namespace, read_config: ReadConfig) -> None:
    """Fetches and says what to do next. KeyboardInterrupt, after a word about how to go on, where Ctrl-C ended it."""
    from omnilmm_lite.hub.pull import pull
    from omnilmm_lite.hub.source import Hub, Source

    hub = None if args.hub is None else Hub[FROM[args.hub]]
    source = Source.parse(args.name, hub, args.revision)
    asks = not args.yes and sys.stdin.isatty() and sys.stderr.isatty()
    try:
        with PullProgress(read_config, asks=asks) as progress:
            pulled = pull(source, progress, args.to)
    except KeyboardInterrupt:
        print("stopped: what has come is kept, and the same command goes on", file=sys.stderr)
        raise
    if args.to is None:
        _remember(pulled, source)
    print(pulled.folder)
    print(_next_step(pulled, source), file=sys.stderr)


def quoted(*words: str) -> str:
    """A command as it can be pasted into this system's shell."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _remember(pulled: Pulled, source: Source) -> None:
    """A bundle gets a name that commands take, unless another model has it."""
    from omnilmm_lite.home.model_record import ModelKind, ModelRecord
    from omnilmm_lite.home.models import ModelStore

    if pulled.kind is not ModelKind.BUNDLE:
        return
    store, name = ModelStore.here(), source.short_name
    own = pulled.folder == store.folder(name)
    known = store.find(name)
    if known is not None and not own and known.record.origin != pulled.origin:
        print(f"{name} is the name of another model of yours: give this one's folder to --model", file=sys.stderr)
        return
    store.add(name, ModelRecord(ModelKind.BUNDLE, None if own else pulled.folder, pulled.origin))


def _next_step(pulled: Pulled, source: Source) -> str:
    from omnilmm_lite.home.model_record import ModelKind

    folder = str(pulled.folder)
    if pulled.kind is ModelKind.BUNDLE:
        return f"whole and verified; try it: {quoted('omnilmm-lite', 'run', '--model', folder)}"
    command = quoted("omnilmm-lite", "convert", folder, f"{source.short_name}-{PRESET}", "--preset", PRESET)
    return f"everything that conversion needs is there; next: {command}"


class PullProgress:
    """Tells on stderr what comes, how fast, and how long it will take; a line a file where that is no terminal."""

    def __init__(self, read_config: ReadConfig, *, asks: bool) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        from omnilmm_lite.console import plain_console

        self._read_config, self._asks = read_config, asks
        self._console = plain_console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:<30}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        self._console.print(line)

    def planned(self, plan: PullPlan) -> bool:
        """Says what it will take, asks at a terminal, and begins the bar."""
        here = plan.size - plan.missing
        already = f", of which {shown_size(here)} are here already" if here else ""
        self.note(f"{plan.origin}: {shown_size(plan.size)}{already}")
        if plan.missing:
            self.note(f"to {plan.folder}, where {shown_size(plan.free)} are free")
        if plan.config:
            self._say_what_follows(plan)
        if self._asks and plan.missing and not _agrees(f"fetch {shown_size(plan.missing)}?"):
            return False
        self.begin(plan)
        return True

    def begin(self, plan: PullPlan) -> None:
        """The bar."""
        self._bar.start()
        self._task = self._bar.add_task("", total=plan.size)

    def file(self, path: str, size: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=path[-30:])
        if not self._console.is_terminal:
            self.note(f"{path} ({shown_size(size)})")

    def received(self, count: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, count)

    def _say_what_follows(self, plan: PullPlan) -> None:
        """What conversion will take beside it, and whether there will be room here."""
        from omnilmm_lite.bundle.presets import find_preset
        from omnilmm_lite.plan.planned_model import PlannedModel

        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "config.json").write_bytes(plan.config)
            try:
                config = self._read_config(Path(folder))
            except InputError as error:
                raise InputError(f"{plan.origin}: {str(error).replace(folder, '').lstrip('/:').strip()}") from None
        disk = PlannedModel.planned(plan.origin, config, find_preset(PRESET)).disk
        wanted = disk.bundle + disk.work
        left = plan.free - plan.missing
        line = f"conversion with --preset {PRESET} will then take {shown_size(disk.bundle)} for the bundle and up to "
        line += f"{shown_size(disk.work)} for its work folder"
        if wanted > left:
            line += f"; only {shown_size(max(0, left))} will be left here, so convert to another disk"
        self.note(line)


def _agrees(question: str) -> bool:
    print(f"{question} [Y/n] ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise OmniLMMError("nothing was fetched: no answer; --yes asks nothing")
    return line.strip().lower() in ("", "y", "yes")

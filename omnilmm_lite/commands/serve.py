"""`omnilmm-lite serve`: an OpenAI-compatible server for one model, and its page."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import threading
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.in_use import DEMONSTRATION
from omnilmm_lite.commands.options.machine import add_machine_options, machine_options, model_source
from omnilmm_lite.commands.options.picture import add_picture_options
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.extras import Extra, missing_package
from omnilmm_lite.pipeline.parallel import Parallel

if TYPE_CHECKING:
    from omnilmm_lite.model_source import OpenCheckpoint
    from omnilmm_lite.serve.engine import Engine
    from omnilmm_lite.serve.live.senses import Senses
    from omnilmm_lite.serve.log import LogFile
    from omnilmm_lite.serve.metrics.metrics import Metrics
    from omnilmm_lite.serve.model.facts import ModelFacts

KEY_VARIABLE = "OMNILMM_API_KEY"
NONE = "none"


def add_serve(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "Serves one model on http://127.0.0.1:8000: a page to talk to it at /, one that watches a camera at /live, "
        "OpenAI's API below /v1, Ollama's below /api. Prints its address when it is ready, and writes a log of JSON "
        "lines to stderr."
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 takes a free one (default: 8000)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--queue", type=int, default=16, metavar="N", help="requests that may wait (default: 16)")
    parallel = "answers at once, or auto for as many as free memory has room for, up to 8 (default: 1)"
    parser.add_argument("--parallel", metavar="N|auto", default="1", help=parallel)
    stall = "how long a running answer may wait for a piece of another one's prompt (default: 2)"
    parser.add_argument("--stall", type=float, metavar="SECONDS", default=2.0, help=stall)
    strict = "refuse requests with fields that the server doesn't know (default: pass over them with a warning)"
    parser.add_argument("--strict", action="store_true", help=strict)
    alias = "answer to this model name, too, for programs that ask for one of their own; may be repeated"
    parser.add_argument("--alias", action="append", default=[], metavar="NAME", help=alias)
    idle = "let go of the model after so long without a question; the next one loads it again (default: keep it)"
    parser.add_argument("--idle-unload", type=float, metavar="MINUTES", help=idle)
    live = parser.add_argument_group("the page at /live")
    ears = "what understands spoken questions: none, pocketsphinx, vosk:FOLDER, whisper:FOLDER or sherpa:FOLDER"
    live.add_argument("--ears", metavar="EARS", default=NONE, help=f"{ears} (default: none)")
    voice = "what says answers: none (the browser's own voice, where it has one), piper, or piper:FOLDER with a voice"
    live.add_argument("--voice", metavar="VOICE", default=NONE, help=f"{voice} (default: none)")
    log = parser.add_argument_group("log")
    log.add_argument("--log-file", type=Path, metavar="FILE", help="write the log there instead of to stderr")
    size = "begin a new file at so many megabytes, and number the old ones (default: 10)"
    log.add_argument("--log-size", type=float, default=10.0, metavar="MB", help=size)
    kept = "old log files that are kept (default: 5)"
    log.add_argument("--log-count", type=int, default=5, metavar="N", help=kept)
    access = parser.add_argument_group("access")
    key = f"file whose text every request must bring as its API key (default: the variable {KEY_VARIABLE}, if set)"
    access.add_argument("--api-key-file", type=Path, metavar="FILE", help=key)
    origin = "let pages of this site ask, such as http://localhost:3000; may be repeated"
    access.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help=origin)
    host = "be asked by this name, too; may be repeated"
    access.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=host)
    fetch = "fetch pictures that requests name by http(s) addresses on the public network"
    access.add_argument("--fetch-images", action="store_true", help=fetch)
    add_picture_options(parser)
    add_machine_options(parser, open_checkpoint)
    parser.set_defaults(command=serve)


def serve(args: argparse.Namespace) -> None:
    """Serves the model until Ctrl-C or a signal."""
    try:
        from omnilmm_lite.serve import http
        from omnilmm_lite.serve.app import Server
    except ImportError as error:
        raise missing_package("the server", error, Extra.SERVE) from None
    from omnilmm_lite.files.owner_lock import sole_owner
    from omnilmm_lite.home.chosen_model import is_builtin
    from omnilmm_lite.picture.decoding_process import DecodingProcess
    from omnilmm_lite.serve.access import Access, is_loopback, parse_origin
    from omnilmm_lite.serve.log import log_event, set_up
    from omnilmm_lite.serve.metrics.metrics import Metrics
    from omnilmm_lite.serve.request.pictures.fetching import fetch_picture
    from omnilmm_lite.serve.request_checker import RequestChecker

    if args.queue < 1:
        raise InputError(f"--queue: {args.queue} is out of range; give 1 or more")
    if not 0 < args.stall < math.inf:
        raise InputError(f"--stall: {args.stall} is out of range; give seconds, such as 2")
    idle_s, log_file = _idle_s(args.idle_unload), _log_file(args)
    origins = tuple(map(parse_origin, args.allow_origin))
    key = _key(args.api_key_file)
    if key is None and not is_loopback(args.host):
        raise InputError(f"--host: {args.host} lets other machines ask; give --api-key-file or set {KEY_VARIABLE}")
    senses = _senses(args.ears, args.voice)
    one_log = contextlib.nullcontext() if log_file is None else sole_owner(log_file.path)
    with one_log, http.listen(args.host, args.port) as sock:  # before the model, which takes long to load
        set_up(log_file)
        metrics = Metrics()
        engine, facts, load_s = _load(args, idle_s, metrics)
        decoding = DecodingProcess(
            ignore_colour_profile=args.ignore_colour_profile, on_remark=lambda line: log_event("picture", remark=line)
        )
        fetch = fetch_picture if args.fetch_images else None
        checker = RequestChecker(facts, facts.name, fetch, decoding, aliases=tuple(args.alias), strict=args.strict)
        access = Access(key, (args.host.lower(), *(name.lower() for name in args.allow_host)), origins)
        address = http.address(sock)
        print(address, flush=True)
        log_event("ready", address=address, model=checker.name, device=str(facts.device.placement),
                  device_reason=facts.device.reason, load_s=round(load_s, 3))  # fmt: skip
        if is_builtin(args.model):
            log_event("demonstration", message=DEMONSTRATION)
        if args.open:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.closing(checker.decoding):
            checker.decoding.start()
            http.serve(Server(engine, checker, access, metrics, senses).app(), sock, engine, checker.decoding.close)


def _load(args: argparse.Namespace, idle_s: float, metrics: Metrics) -> tuple[Engine, ModelFacts, float]:
    """The engine, which alone holds the model: it has to be able to let go of it; and the seconds that loading took."""
    from omnilmm_lite.serve.engine import Engine
    from omnilmm_lite.serve.model.facts import ModelFacts

    source = model_source(args)
    options = machine_options(args)
    options["parallel"] = Parallel.read(args.parallel).slots(source, options)
    load = partial(source.load, options)
    model = load()
    engine = Engine(model, args.queue, reload=load, idle_s=idle_s, observe=metrics.event, stall_s=args.stall)
    metrics.watch(engine)
    return engine, ModelFacts.of(model), model.load_s


def _senses(ears: str, voice: str) -> Senses:
    """Of live sessions. InputError where a package or a folder of theirs isn't there."""
    from omnilmm_lite.live.ears.opening import open_recogniser
    from omnilmm_lite.live.voices.opening import open_voice
    from omnilmm_lite.serve.live.senses import shared_senses

    return shared_senses(open_recogniser(ears), open_voice(voice))


def _log_file(args: argparse.Namespace) -> LogFile | None:
    """None for stderr. InputError for sizes and counts that keep no log."""
    from omnilmm_lite.serve.log import LogFile

    if not 0.001 <= args.log_size < math.inf:
        raise InputError(f"--log-size: {args.log_size:g} is out of range; give 0.001 (MB) or more")
    if args.log_count < 1:
        raise InputError(f"--log-count: {args.log_count} is out of range; give 1 or more")
    if args.log_file is not None and not args.log_file.parent.is_dir():
        raise InputError(f"--log-file: there is no folder {args.log_file.parent}; make it, or name another file")
    return args.log_file and LogFile(args.log_file, int(args.log_size * 1e6), args.log_count)


def _idle_s(minutes: float | None) -> float:
    """Seconds; infinity where the model stays. InputError where it is no time."""
    if minutes is None:
        return math.inf
    if not 0 <= minutes < math.inf:
        raise InputError(f"--idle-unload: {minutes:g} is out of range; give 0 minutes or more")
    return 60 * minutes


def _key(file: Path | None) -> str | None:
    """The key, without the line's end. InputError where the file can't be read or holds none that a header can."""
    if file is None:
        key, where = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
        if key is None:
            return None
    else:
        where = str(file)
        try:
            key = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise InputError(f"--api-key-file: {file} can't be read as text; name a file with the key") from None
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise InputError(f"{where}: it holds no key; give one line of ASCII characters")
    return key

"""`omnilmm-lite serve`: an OpenAI-compatible server for one model, and its page."""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.in_use import DEMONSTRATION
from omnilmm_lite.commands.options.machine import add_machine_options, machine_options, model_source
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.extras import Extra, missing_package

if TYPE_CHECKING:
    from omnilmm_lite.model_source import OpenCheckpoint

KEY_VARIABLE = "OMNILMM_API_KEY"


def add_serve(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "Serves one model on http://127.0.0.1:8000: a page to talk to it at /, and OpenAI's API below /v1. Prints its "
        "address when it is ready, and writes a log of JSON lines to stderr."
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 takes a free one (default: 8000)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--queue", type=int, default=16, metavar="N", help="requests that may wait (default: 16)")
    access = parser.add_argument_group("access")
    key = f"file whose text every request must bring as its API key (default: the variable {KEY_VARIABLE}, if set)"
    access.add_argument("--api-key-file", type=Path, metavar="FILE", help=key)
    origin = "let pages of this site ask, such as http://localhost:3000; may be repeated"
    access.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help=origin)
    host = "be asked by this name, too; may be repeated"
    access.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=host)
    fetch = "fetch pictures that requests name by http(s) addresses on the public network"
    access.add_argument("--fetch-images", action="store_true", help=fetch)
    add_machine_options(parser, open_checkpoint)
    parser.set_defaults(command=serve)


def serve(args: argparse.Namespace) -> None:
    """Serves the model until Ctrl-C or a signal."""
    try:
        from omnilmm_lite.serve import http
        from omnilmm_lite.serve.app import Server
    except ImportError as error:
        raise missing_package("the server", error, Extra.SERVE) from None
    from omnilmm_lite.home.chosen_model import is_builtin
    from omnilmm_lite.serve.access import Access, is_loopback, parse_origin
    from omnilmm_lite.serve.engine import Engine
    from omnilmm_lite.serve.log import log_event, set_up
    from omnilmm_lite.serve.request.fetching import fetch_picture
    from omnilmm_lite.serve.request_checker import RequestChecker

    if args.queue < 1:
        raise InputError(f"--queue: {args.queue} is out of range; give 1 or more")
    origins = tuple(map(parse_origin, args.allow_origin))
    key = _key(args.api_key_file)
    if key is None and not is_loopback(args.host):
        raise InputError(f"--host: {args.host} lets other machines ask; give --api-key-file or set {KEY_VARIABLE}")
    with http.listen(args.host, args.port) as sock:  # before the model, which takes long to load
        model = model_source(args).load(machine_options(args))
        engine = Engine(model, args.queue)
        checker = RequestChecker(model, model.name, fetch_picture if args.fetch_images else None)
        access = Access(key, (args.host.lower(), *(name.lower() for name in args.allow_host)), origins)
        set_up()
        address = http.address(sock)
        print(address, flush=True)
        log_event("ready", address=address, model=checker.name, device=str(model.device.placement),
                  device_reason=model.device.reason, load_s=round(model.load_s, 3))  # fmt: skip
        if is_builtin(args.model):
            log_event("demonstration", message=DEMONSTRATION)
        if args.open:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.closing(checker.decoding):
            checker.decoding.start()
            http.serve(Server(engine, checker, access).app(), sock, engine, checker.decoding.close)


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

"""`omnilmm-lite push`: a bundle goes to the Hugging Face hub, with a page made of its manifest."""

from __future__ import annotations

import argparse
import sys

from omnilmm_lite.errors import InputError, OmniLMMError


def add_push(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Verifies a bundle and uploads it to the Hugging Face hub, for `omnilmm-lite pull`, with a page made of its "
        "manifest. Needs a token with the right to write (HF_TOKEN, or `hf auth login`). May be stopped: the same "
        "command goes on. The weights keep their own licence: see that it allows this."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder that `convert` made, or a model's name")
    parser.add_argument("repo", metavar="REPO", help="OWNER/NAME on the hub; made where it isn't there")
    parser.add_argument("--private", action="store_true", help="make a repository that only you see")
    parser.add_argument("--yes", action="store_true", help="make a public repository without asking")
    parser.set_defaults(command=push_command, model_words=("bundle",))


def push_command(args: argparse.Namespace) -> None:
    """Uploads and prints the commit's address. InputError where a public repository would be made without consent."""
    from omnilmm_lite.bundle.folder import Bundle
    from omnilmm_lite.hub.huggingface import hub_host
    from omnilmm_lite.hub.push import find_target, push

    def note(line: str) -> None:
        print(line, file=sys.stderr)

    bundle = Bundle.find(args.bundle)
    note(f"connecting to {hub_host()}")
    target = find_target(args.repo, private=args.private)
    size = sum(entry.size for entry in bundle.manifest.files)
    seen = "only you see" if target.is_private else "everybody sees"
    note(f"{target.host}/{target.repo}: {size / 1e6:,.1f} MB, which {seen}")
    if not target.is_private and not args.yes:
        _ask()
    try:
        address = push(bundle, target, note)
    except KeyboardInterrupt:
        note("stopped: what has gone up is kept, and the same command goes on")
        raise
    print(address)
    note(f"to fetch it: omnilmm-lite pull {target.repo}")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise InputError("everybody would see this upload: give --yes, or --private")
    print("upload it for everybody? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise OmniLMMError("nothing was uploaded")

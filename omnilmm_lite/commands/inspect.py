"""`omnilmm-lite inspect`: what is in a bundle."""

from __future__ import annotations

import argparse
import json
import sys


def add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows what a bundle holds. Opening it checks that every file is there and has its size, and hashes small ones."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder that `convert` made, a model's name, or `tiny`")
    parser.add_argument("--verify", action="store_true", help="also hash every file")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    parser.set_defaults(command=inspect, model_words=("bundle",))


def inspect(args: argparse.Namespace) -> None:
    """Prints a bundle's contents, verified if asked for."""
    from omnilmm_lite.bundle.folder import Bundle

    bundle = Bundle.find(args.bundle)
    if args.verify:
        shown = sys.stderr.isatty()  # else the one line there is the complaint
        bundle.verify(lambda entry: print(f"hashing {entry.path}", file=sys.stderr) if shown else None)
    if args.json:
        print(json.dumps(bundle.manifest.to_dict(), ensure_ascii=False))
        return
    from omnilmm_lite.commands.bundle_report import print_manifest

    print_manifest(bundle.manifest, verified=args.verify)

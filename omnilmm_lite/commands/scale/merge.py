"""`omnilmm-lite merge`: what several runs of `caption` have written, joined and checked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from omnilmm_lite.errors import InputError, OmniLMMError


def add_merge(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Joins what runs of `caption` have written, shards or not, into one file in which `caption` can go on. Gaps, "
        "doubles and disagreements are named, and the exit code is 1 where there are any; OUT is written all the same."
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="file to write: .jsonl, .csv or .parquet")
    parts = "files or folders that `caption` has written; of equal pictures, the first one's row is kept"
    parser.add_argument("parts", type=Path, nargs="+", metavar="PART", help=parts)
    source = "each picture of this folder must have a row: else it is a gap"
    parser.add_argument("--source", type=Path, metavar="FOLDER", help=source)
    parser.set_defaults(command=merge_command)


def merge_command(args: argparse.Namespace) -> None:
    """Writes OUT and says what was found; OmniLMMError at the end where that isn't all in order."""
    from omnilmm_lite.caption.scale.merge import merge
    from omnilmm_lite.caption.scale.part import Part
    from omnilmm_lite.caption.writers.table import check_parquet, log_path, write_csv, write_parquet
    from omnilmm_lite.picture.listing import Filter, list_pictures

    output: Path = args.output
    form = output.suffix.lower()
    if form not in (".jsonl", ".csv", ".parquet"):
        raise InputError(f"{output}: name a file that ends in .jsonl, .csv or .parquet")
    if form == ".parquet":
        check_parquet()
    lines = output if form == ".jsonl" else log_path(output)
    for place in (output, lines):
        if place.exists():
            raise InputError(f"{place}: it is there already; name another file, or remove it")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: its folder doesn't exist; make it, or name another file")
    expected = () if args.source is None else list_pictures(args.source, Filter()).paths
    report = merge([Part.open(path) for path in args.parts], lines, expected)
    if form != ".jsonl":
        (write_csv if form == ".csv" else write_parquet)(lines, output)
    for kind, names in (("gap", report.gaps), ("double", report.twice), ("disagreement", report.disputed)):
        for name in names:
            print(f"{kind}: {name}", file=sys.stderr)
    if not report.is_clean:
        raise OmniLMMError(f"{output}: {report}; it is written as far as the parts go")
    print(f"{output}: {report}", file=sys.stderr)

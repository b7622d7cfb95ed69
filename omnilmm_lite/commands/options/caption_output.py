"""Where captions go, as `caption` asks for it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from omnilmm_lite.errors import InputError


class Form(Enum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("where captions go; several may be given")
    out = "file to fill, or to go on in; - is standard output"
    output.add_argument("-o", "--output", metavar="OUT", help=out)  # no Path yet, which would spoil s3://
    form = "what OUT holds (default: by its ending, else jsonl)"
    output.add_argument("--format", choices=[form.value for form in Form], help=form)
    output.add_argument("--txt", action="store_true", help="a text beside each picture: cat.txt of cat.jpg")
    xmp = "XMP beside each picture: description, or keywords with --tags; what others wrote there stays"
    output.add_argument("--xmp", action="store_true", help=xmp)
    embed = "the same into JPEG, PNG and WebP themselves; cat.jpg_original is what cat.jpg was"
    output.add_argument("--embed", action="store_true", help=embed)
    overwrite = "replace texts and descriptions that are there already (default: keep them)"
    output.add_argument("--overwrite", action="store_true", help=overwrite)
    output.add_argument("--prefix", default="", metavar="TEXT", help="in front of each caption; takes fields like -p")
    output.add_argument("--suffix", default="", metavar="TEXT", help="behind each caption; takes fields like -p")


@dataclass(frozen=True)
class TableFormat:
    """What the output is written as, and the log of lines that it is made of."""

    form: Form

    def log(self, output: Path) -> Path:
        from omnilmm_lite.caption.writers.table import log_path

        return output if self.form is Form.JSONL else log_path(output)

    def files(self, output: Path | None) -> list[Path]:
        """All that is written for this output, which are no pictures to be described."""
        from omnilmm_lite.files.json_log import settings_path

        return [] if output is None else [output, self.log(output), settings_path(self.log(output))]

    def write(self, output: Path | None) -> None:
        """Makes the table of the log, where the output is one."""
        from omnilmm_lite.caption.writers.table import write_csv, write_parquet

        if output is not None and self.form is not Form.JSONL and self.log(output).is_file():
            (write_csv if self.form is Form.CSV else write_parquet)(self.log(output), output)


def table_format(args: argparse.Namespace) -> TableFormat:
    """InputError where the format needs a package that isn't there, or a file that isn't named."""
    output: Path | None = args.output
    _check_place(output, args)
    if output is None or str(output) == "-":
        if args.format not in (None, Form.JSONL.value):
            raise InputError(f"--format {args.format}: it is written as a whole, so it needs a file; name it after -o")
        return TableFormat(Form.JSONL)
    endings = {".csv": Form.CSV, ".parquet": Form.PARQUET}
    form = Form(args.format) if args.format else endings.get(output.suffix.lower(), Form.JSONL)
    if form is not Form.JSONL:
        _check_table(output, form)
    return TableFormat(form)


def _check_place(output: Path | None, args: argparse.Namespace) -> None:
    """InputError where OUT is no file's name, or may be that of what is written beside a picture."""
    if output is None:
        return
    if output.name in ("", ".."):
        raise InputError(f"-o: {str(output)!r} is no file's name; give one, or - for standard output")
    beside = [ending for ending, is_wanted in ((".txt", args.txt), (".xmp", args.xmp)) if is_wanted]
    if output.suffix.lower() in beside and output.resolve().is_relative_to(args.folder.resolve()):
        raise InputError(
            f"{output}: files of this ending are written beside the pictures; name a file of another after -o"
        )


def _check_table(output: Path, form: Form) -> None:
    from omnilmm_lite.caption.writers.table import check_parquet, log_path

    if form is Form.PARQUET:
        check_parquet()
    if output.exists() and not log_path(output).is_file():
        raise InputError(f"{output}: it is there already, and not of this command, which keeps {log_path(output).name} "
                         "beside a table; name another file after -o")  # fmt: skip

"""JSON from somebody's checkpoint, or an earlier run: read with errors that fit on one line."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.regular_file import read_regular

DOWNLOAD = "download it again"  # what to do with a damaged file of somebody's checkpoint
MAX_BYTES = 64 << 20  # the largest that is met, a tokenizer.json, has a few MB


def shown(value: object) -> str:
    """A value from somebody's file, however large or deep, fit for one line of an error."""
    return printable(reprlib.repr(value))


def parse_json_object(data: bytes, what: str, advice: str = DOWNLOAD) -> dict[str, Any]:
    """An object without doubled keys; InputError, `what` in front and `advice` behind, for anything else."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_doubled_keys)
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad JSON, endless digits, endless nesting
        raise InputError(f"{what} is not valid JSON ({printable(str(error))}); {advice}") from error
    if not isinstance(value, dict):
        raise InputError(f"{what} must hold a JSON object, not a {type(value).__name__}; {advice}")
    return value


def read_json(path: Path, advice: str = DOWNLOAD) -> dict[str, Any]:
    """The object in a JSON file; InputError if it's not there, not readable or, with `advice`, not an object."""
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    return parse_json_object(data, str(path), advice)


def _no_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers may each take another one of the doubles: what was checked would not be what is used.
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is given twice")
    return result

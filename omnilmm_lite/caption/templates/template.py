"""`{name}`, `{exif.Model|unknown}` and `{{` in a text: read before the run, filled for each picture."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.picture.exif import FIELD_NAMES

PLAIN_NAMES = ("name", "folder", "tags")
EXIF = "exif."
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    """A text in pieces: literal ones, and fields with what stands there where a picture has none."""

    pieces: tuple[str | Field, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(piece.name for piece in self.pieces if isinstance(piece, Field))

    def fill(self, fields: Mapping[str, str]) -> str:
        """The text for a picture with these fields; one that it lacks is its default."""
        return "".join(
            piece if isinstance(piece, str) else fields.get(piece.name) or piece.default for piece in self.pieces
        )


@dataclass(frozen=True)
class Field:
    name: str
    default: str


def read_template(text: str, option: str) -> Template:
    """InputError where a brace stands alone or a name is none; `option` is where the text was given."""
    pieces: list[str | Field] = []
    at = 0
    for found in _FIELD.finditer(text):
        pieces.append(text[at : found.start()])
        at = found.end()
        if found[0] in ("{{", "}}"):
            pieces.append(found[0][0])
        elif found[1] is None:
            raise InputError(f"{option}: a single {found[0]} in {printable(text)!r}; write {found[0] * 2} for one")
        else:
            name, _, default = found[1].partition("|")
            _check_name(name.strip(), option)
            pieces.append(Field(name.strip(), default))
    return Template(tuple(piece for piece in [*pieces, text[at:]] if piece != ""))


def _check_name(name: str, option: str) -> None:
    if name in PLAIN_NAMES or (name.startswith(EXIF) and name[len(EXIF) :] in FIELD_NAMES):
        return
    known = [*PLAIN_NAMES, *(EXIF + field for field in sorted(FIELD_NAMES))]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {{{near[0]}}}?" if near else "give {name}, {folder}, {tags} or {exif.Model}"
    raise InputError(f"{option}: there is no field {{{printable(name, 40)}}}; {hint} (for a brace, write {{{{)")

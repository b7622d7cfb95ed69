"""One of N parts of a set of pictures: which one a picture is in follows from what it holds, not from its name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable

MOST_SHARDS = 100_000
_FORM = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """`number` counts from 1 to `count`."""

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """From `2/8`. InputError where it is none."""
        found = _FORM.fullmatch(text)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count <= MOST_SHARDS:
            raise InputError(f"--shard {printable(text)}: give a number and how many there are, such as 1/4 to 4/4")
        return cls(number, count)

    def takes(self, path: str, sha256: str | None) -> bool:
        """Whether the picture is this one's. `sha256`: hex, of the file; None where it can't be read."""
        return shard_number(path, sha256, self.count) == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard_number(path: str, sha256: str | None, count: int) -> int:
    """1 to `count`: of equal files the same one, wherever they lie. The path stands in for what can't be read."""
    key = sha256 or hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    return int(key[:16], 16) % count + 1

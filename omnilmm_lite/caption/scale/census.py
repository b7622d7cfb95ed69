"""How many pictures a run over one shard saw of each: by it `merge` knows what is missing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from omnilmm_lite.caption.scale.shard import Shard, shard_number
from omnilmm_lite.files import durable_file

ENDING = ".census.json"


@dataclass
class Census:
    """`counts`: pictures of each shard, by its number."""

    shard: Shard
    counts: Counter[int] = field(default_factory=Counter)

    def count(self, path: str, sha256: str | None) -> None:
        self.counts[shard_number(path, sha256, self.shard.count)] += 1

    def write(self, output: Path) -> None:
        """Beside the output, once the run is through: a run that was stopped has none."""
        counts = [self.counts[number] for number in range(1, self.shard.count + 1)]
        durable_file.write_json(census_path(output), {"shard": str(self.shard), "pictures": counts})

    def forget(self, output: Path) -> None:
        """Takes away what an earlier run wrote: `output` is to be filled again."""
        census_path(output).unlink(missing_ok=True)

    @classmethod
    def find(cls, output: Path, shard: Shard) -> Self | None:
        """What the run over `shard` into `output` has seen; None where it isn't through, or the file is none."""
        try:
            found = json.loads(census_path(output).read_text(encoding="utf-8"))
            counts = found["pictures"]
        except (OSError, ValueError, RecursionError, TypeError, KeyError):
            return None
        whole = isinstance(counts, list) and len(counts) == shard.count and all(type(each) is int for each in counts)
        if not whole or found.get("shard") != str(shard):
            return None
        return cls(shard, Counter(dict(enumerate(counts, start=1))))


def census_path(output: Path) -> Path:
    return output.with_name(output.name + ENDING)

"""The largest numbers that the reference meets, site by site: what a narrower format has to hold.

A site is a layer's output under the checkpoint's own name, such as "model.layers.3.mlp.up_proj". What has no name there
is called `logits` (an attention's, before softmax), `stream` (the residual stream behind the branch) and
`down_proj.input`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import shown

LOGITS, STREAM, INPUT = "logits", "stream", "input"
TOWER, RESAMPLER = "model.vision_tower", "model.resampler"  # what their sites begin with; all others are the decoder's


@dataclass(frozen=True)
class ActivationRanges:
    """Largest absolute values in float32, and what they were seen on."""

    largest: Mapping[str, float]  # by site
    pictures: int
    sequences: int
    tokens: int  # of the sequences, pictures' included

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> Self:
        """What `to_dict` gave; InputError, which begins with `where`, for anything else."""
        largest = parse_largest(data.get("largest"), where)
        counts = [data.get(name) for name in ("pictures", "sequences", "tokens")]
        whole = [each for each in counts if type(each) is int and each >= 0]
        if len(whole) != len(counts):
            raise InputError(
                f"{where}: {shown(counts)} can't be counts of pictures, sequences, tokens; remove the file"
            )
        return cls(largest, *whole)


def parse_largest(value: object, where: str) -> dict[str, float]:
    """Largest values by site, as JSON has them; InputError, which begins with `where`, for anything else."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: {shown(value)} is no table of largest values by site; remove the file")
    for site, each in value.items():
        if type(each) is not float or not 0 <= each < math.inf:
            raise InputError(f"{where}: {site} can't have the largest value {shown(each)}; remove the file")
    return value

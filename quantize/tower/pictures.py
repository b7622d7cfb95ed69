"""The photographs that a tower is calibrated on."""

from __future__ import annotations

import random
from pathlib import Path

from omnilmm_lite.text.conversations import read_source

# GPTQ asks the tokens of a picture for 1792 numbers' correlations, and a picture has 1025 tokens.
MOST_PICTURES = 8


def calibration_pictures(source: Path | None) -> list[Path]:
    """At most MOST_PICTURES of those in `source`, the same for the same source; the built-in ones where it has none.

    `source`: what `omnilmm_lite.text.conversations.read_source` takes; InputError for anything else.
    """
    data = read_source(source)
    conversations = [] if isinstance(data, str) else data
    found = list(dict.fromkeys(each.image for each in conversations if each.image is not None))
    if not found:
        return calibration_pictures(None)
    return found if len(found) <= MOST_PICTURES else random.Random(0).sample(found, MOST_PICTURES)

"""What the model is given: the same pictures, tokens and questions each time, of exact lengths.

Which tokens they are changes nothing about the time, only how many.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.picture.noise import noise_picture
from omnilmm_lite.text.prompt import TextEncoder

PICTURE_SIZE = (1024, 768)  # a small photograph; larger ones cost some milliseconds more to shrink
QUESTION_TOKENS = 60
_SENTENCE = (
    "look at this picture and tell me what you see in it, from left to right: which people and things are there, what "
    "they look like and what they may be doing, what time of day it is, and whether anything is unusual about them; "
)


def picture(seed: int) -> Image.Image:
    """A picture of noise; each seed gives another one, whose features no cache has."""
    return noise_picture(*PICTURE_SIZE, seed)


def token_ids(config: OmniLMMConfig, length: int) -> list[int]:
    """`length` ids: a BOS, then ordinary tokens."""
    special = set(vars(config.tokens).values())
    ordinary = np.asarray([token for token in range(config.decoder.vocab_size) if token not in special])
    return [config.tokens.bos, *np.random.default_rng(0).choice(ordinary, length - 1).tolist()]


def question(tokenizer: TextEncoder, start: int) -> tuple[str, int]:
    """A question of QUESTION_TOKENS tokens, or of the few more that its last word has, and their number.

    `start`: the word of the sentence that it begins with.
    """
    supply = _SENTENCE.split()
    words: list[str] = []
    tokens = 0
    while tokens < QUESTION_TOKENS:
        words.append(supply[(start + len(words)) % len(supply)])
        tokens = len(tokenizer.encode_text(" ".join(words)))
    return " ".join(words), tokens

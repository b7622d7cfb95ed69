"""What the public OmniLMM code answered to fixed pictures and conversations; `golden/make.py` recorded it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GOLDEN_FILE = Path(__file__).parent / "golden" / "omnilmm_small.npz"
SEED = 20240201  # of the checkpoint: small_checkpoint.SMALL

# Width and height of each picture: wide, tall and smaller than the model's input, a thin strip.
PICTURE_SIZES = {"wide": (640, 427), "tall": (150, 300), "strip": (33, 700)}
PIXEL_STEP = 9  # pixels are recorded at every 9th row and column
FEATURE_STEP = 8  # of "tall" every 8th query is recorded, of "wide" all
PATCH_STEP = 16  # of the tower's output for "wide" every 16th patch
VOCAB_IDS = (*range(9), 13, 28705, 28723, *range(500, 32000, 1167), *range(32000, 32009))  # 48 columns of the logits


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


QUESTION = "What is interesting about this image?"
CONVERSATIONS: dict[str, list[dict[str, str]]] = {
    "one_turn": [user(QUESTION)],
    "two_turns": [user(QUESTION), assistant("A map made of food."), user("Where is China in the image")],
    "three_turns": [
        user("Hi."),
        assistant("Hello!\nHow can I help?"),
        user("Count the dogs."),
        assistant(" Two dogs. "),
        user("And the cats?"),
    ],
    "placeholder": [user("Look at <image> closely: what colour is it?")],
    "placeholder_first": [user("<image>\nDescribe it.")],
    "placeholder_last": [user("Describe this: <image>")],
    "placeholder_later": [user("One."), assistant("<image>"), user("What does <image> mean?")],
    "chinese": [
        user("这张图片里有什么有趣的东西？请详细说明。"),  # noqa: RUF001
        assistant("有一只猫。"),
        user("它是什么颜色的？龘"),  # noqa: RUF001
    ],
    "emoji": [user("What does 👩‍👩‍👧 mean? 🦙🚀 naïve café")],
    "newlines": [user("First line\n\nSecond line\n  indented\ttab\r\nend\n")],
    "newline_first": [user("\n\nWhat?")],
    "spaces": [user("   leading,   inner  and trailing   ")],
    "template_text": [user("<|user|>\nfoo <|assistant|> [INST] <0x0A> <im_patch <image")],
    "unicode": [user("e\u0301 ﬁ \uff21\uff22\uff23 \u00a0x\u200by ▁z ▁▁ \U0001d54f \x07 ½ Ω≈ç√")],
    "code": [user('def f(x):\n    return {"a": [x**2, -1.5e-3]}  # 100%')],
}
GREEDY = {"one_turn": "wide", "two_turns": "tall"}  # conversation -> picture, for logits and answers
NEW_TOKENS = 32


def seeded_picture(name: str) -> Image.Image:
    """A picture of soft blocks, a gradient and noise, the same bytes everywhere (integers of PCG64's raw stream)."""
    width, height = PICTURE_SIZES[name]
    stream = np.random.PCG64(list(PICTURE_SIZES).index(name))
    blocks = (stream.random_raw(7 * 5 * 3) % 160).astype(np.int64).reshape(7, 5, 3)
    noise = (stream.random_raw(width * height * 3) % 48).astype(np.int64).reshape(height, width, 3)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    gradient = (rows * 47 // height)[..., None]
    pixels = blocks[rows * 7 // height, columns * 5 // width] + noise + gradient
    return Image.fromarray(pixels.astype(np.uint8))


@cache
def golden() -> dict[str, NDArray[Any]]:
    """Every recorded array, by the names that `golden/make.py` documents."""
    with np.load(GOLDEN_FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def golden_json(name: str) -> Any:
    """A recorded JSON string, parsed: `versions`, `decoded`."""
    return json.loads(str(golden()[name]))

"""Writes training pictures with questions and answers for `convert --calibration`:

`python -m examples.tiny.calibration --emoji DIR --emojibase DIR FOLDER` makes FOLDER/calibration.jsonl and pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from examples.tiny.dataset import questions
from examples.tiny.dataset.pictures import Studio

SEED = 77  # pictures of the training kind that training itself did not draw
CHATS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", type=Path, required=True, help="unpacked npm package @lobehub/fluent-emoji-3d")
    parser.add_argument("--emojibase", type=Path, required=True, help="unpacked npm package emojibase-data")
    parser.add_argument("--pictures", type=int, default=496)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    studio = Studio(args.emoji, args.emojibase)
    rng = np.random.default_rng(SEED)
    lines = []
    for number in range(args.pictures):
        example = studio.example(rng)
        name = f"{number:04}.png"
        Image.fromarray(example.pixels).save(args.folder / name)
        question, answer = questions.pairs(example.scene, rng, 1)[0]
        lines.append({"image": name, "question": question, "answer": answer})
    for _ in range(CHATS):
        question, answer = questions.chat_pair(rng)
        lines.append({"question": question, "answer": answer})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (args.folder / "calibration.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

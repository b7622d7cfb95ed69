"""Scores tiny in torch, fast: for steering the training. `evaluate.py` is the measurement, on bundles.

Free greedy generation gives the wanted answer word for word exactly when, fed with it, every one of its ids and the
end is the likeliest next one. So one packed pass answers what generation would, for a fraction of the time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from examples.tiny.checkpoint import trained
from examples.tiny.dataset import easy_vqa_data
from examples.tiny.dataset.kinds import with_article
from examples.tiny.dataset.pictures import SIDE, Studio
from examples.tiny.dataset.questions import Pair
from examples.tiny.network import packed_hidden_states
from examples.tiny.packing import Packer
from examples.tiny.train import answer_loss
from examples.tiny.train_tower import normalise
from export.reference.model import OmniLMM

PICTURES = 25  # in one pass


@torch.inference_mode()
def right(model: OmniLMM, packer: Packer, pixels: np.ndarray, asked: Sequence[Sequence[Pair]]) -> list[list[bool]]:
    """Whether each question of each picture is answered word for word; pixels (pictures, side, side, 3) uint8."""
    found: list[list[bool]] = []
    for start in range(0, len(asked), PICTURES):
        part = asked[start : start + PICTURES]
        features = model.encode_image(normalise(torch.from_numpy(pixels[start : start + PICTURES])))
        rows = packer.rows([(True, [packer.segment([pair], image=True) for pair in pairs]) for pairs in part])
        _, exact = answer_loss(model, packed_hidden_states(model, packer, features, rows), rows)
        found += [[bool(value) for value in row[: len(pairs)]] for row, pairs in zip(exact, part, strict=True)]
    return found


def easy_vqa_score(
    model: OmniLMM, packer: Packer, *, split: str, blank: bool = False, limit: int | None = None
) -> dict[str, float]:
    """Share of right answers in the split, by type and in all."""
    by_picture: dict[int, list[easy_vqa_data.Question]] = defaultdict(list)
    for question in easy_vqa_data.questions(split):
        by_picture[question.picture].append(question)
    numbers = sorted(by_picture)[:limit]
    shown = easy_vqa_data.pictures(split)
    pixels = np.stack([np.asarray(shown[number].resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for number in numbers])
    if blank:
        pixels = np.full_like(pixels, 255)
    asked = [[(question.text, question.answer) for question in by_picture[number]] for number in numbers]
    results: dict[str, list[bool]] = defaultdict(list)
    for number, row in zip(numbers, right(model, packer, pixels, asked), strict=True):
        for question, good in zip(by_picture[number], row, strict=True):
            results[question.type].append(good)
            results["all"].append(good)
            if not good:
                results["wrong: " + question.template].append(True)
    return {name: float(np.mean(values)) if "wrong" not in name else len(values) for name, values in results.items()}


def emoji_score(model: OmniLMM, packer: Packer, studio: Studio, *, each: int, seed: int) -> dict[str, float]:
    """Share of right answers to "What is this?" by kind, over `each` new renderings."""
    rng = np.random.default_rng(seed)
    examples = [studio.emoji(rng, kind) for kind in range(len(studio.kinds)) for _ in range(each)]
    asked = [[("What is this?", f"This is {with_article(example.scene.things[0].name)}.")] for example in examples]
    good = right(model, packer, np.stack([example.pixels for example in examples]), asked)
    rates = np.asarray(good, float).reshape(len(studio.kinds), each).mean(1)
    return {kind.name: float(rate) for kind, rate in zip(studio.kinds, rates, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path, help="training state of the second stage")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--emoji", type=Path, required=True)
    parser.add_argument("--emojibase", type=Path, required=True)
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument("--pictures", type=int, help="of easy-VQA; all by default")
    args = parser.parse_args()
    model = trained(args.state)
    packer = Packer((args.tokenizer / "tokenizer.model").read_bytes(), model.config)
    studio = Studio(args.emoji, args.emojibase, test=True)
    rates = emoji_score(model, packer, studio, each=args.each, seed=99)
    print(f"emoji {np.mean(list(rates.values())):.4f}; worst:", sorted(rates.items(), key=lambda item: item[1])[:16])
    for blank in (False, True):
        score = easy_vqa_score(model, packer, split=args.split, blank=blank, limit=args.pictures)
        print("easy-VQA", "blank" if blank else "", {name: round(value, 4) for name, value in sorted(score.items())})


if __name__ == "__main__":
    main()

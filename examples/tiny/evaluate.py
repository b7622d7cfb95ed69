"""Measures bundles of tiny through the public API, by free greedy generation, word for word:

`python -m examples.tiny.evaluate --emoji DIR --emojibase DIR BUNDLE ... [--write docs/tiny.md]`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from examples.tiny.dataset import easy_vqa_data
from examples.tiny.dataset.kinds import with_article
from examples.tiny.dataset.pictures import Studio
from omnilmm_lite import load
from omnilmm_lite.model import Model

RENDERING_SEED = 99
# A kind counts as one that tiny knows if it is named right in this share of other renderings, made for choosing only.
CHOOSING_SEED, CHOOSING_EACH, CHOOSING_SHARE = 7, 10, 0.8
MAX_NEW_TOKENS = 24
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Figures:
    """One bundle's results, shares in 0..1."""

    bundle: str
    easy: dict[str, float]  # "all", "yes/no", "colour", "shape"
    blank: dict[str, float]
    trained_kinds: float  # share of the renderings of all kinds named right
    known_kinds: float  # of the chosen kinds'


def ask(model: Model, picture: Image.Image, question: str) -> str:
    return model.chat(picture).ask(question, greedy=True, max_new_tokens=MAX_NEW_TOKENS)


def easy_vqa(model: Model, *, blank: bool, limit: int | None) -> dict[str, float]:
    """Exact match over the published test split, by type; `blank` shows a white picture instead."""
    pictures = easy_vqa_data.pictures("test")
    white = Image.new("RGB", (easy_vqa_data.SIDE, easy_vqa_data.SIDE), "white")
    right: dict[str, list[bool]] = defaultdict(list)
    for question in sorted(easy_vqa_data.questions("test"), key=lambda asked: asked.picture)[:limit]:
        answer = ask(model, white if blank else pictures[question.picture], question.text)
        right[question.type].append(answer == question.answer)
        right["all"].append(answer == question.answer)
    return {name: float(np.mean(values)) for name, values in right.items()}


def emoji(model: Model, studio: Studio, each: int, seed: int) -> dict[str, float]:
    """Share named right of `each` new renderings, by kind."""
    rng = np.random.default_rng(seed)
    rates = {}
    for number, kind in enumerate(studio.kinds):
        wanted = f"This is {with_article(kind.name)}."
        pictures = [Image.fromarray(studio.emoji(rng, number).pixels) for _ in range(each)]
        rates[kind.name] = float(np.mean([ask(model, picture, "What is this?") == wanted for picture in pictures]))
    return rates


def choose(model: Model, studio: Studio) -> list[str]:
    """The kinds that the model knows."""
    rates = emoji(model, studio, CHOOSING_EACH, CHOOSING_SEED)
    return [name for name, rate in rates.items() if rate >= CHOOSING_SHARE]


def measure(bundle: str, known: list[str], studio: Studio, each: int, limit: int | None) -> Figures:
    model = load(bundle, device="cpu")
    rates = emoji(model, studio, each, RENDERING_SEED)
    return Figures(
        bundle=bundle,
        easy=easy_vqa(model, blank=False, limit=limit),
        blank=easy_vqa(model, blank=True, limit=limit),
        trained_kinds=float(np.mean(list(rates.values()))),
        known_kinds=float(np.mean([rates[name] for name in known])),
    )


def table(measured: Iterable[Figures], known: list[str], studio: Studio) -> str:
    """Markdown, one row a bundle, and the kinds that are not known."""
    lines = [
        "| bundle | easy-VQA test | yes/no | colour | shape | picture blanked | yes/no | colour | shape "
        f"| the {len(known)} kinds it knows | all {len(studio.kinds)} kinds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in measured:
        shares = [part[name] for part in (one.easy, one.blank) for name in ("all", "yes/no", "colour", "shape")]
        cells = " | ".join(f"{100 * share:.2f} %" for share in (*shares, one.known_kinds, one.trained_kinds))
        lines.append(f"| {Path(one.bundle).name} | {cells} |")
    unknown = [kind.name for kind in studio.kinds if kind.name not in known]
    return "\n".join([*lines, "", f"Trained but not known: {', '.join(unknown)}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", help="bundle folders; the first decides which kinds count as known")
    parser.add_argument("--emoji", type=Path, required=True, help="unpacked npm package @lobehub/fluent-emoji-3d")
    parser.add_argument("--emojibase", type=Path, required=True, help="unpacked npm package emojibase-data")
    parser.add_argument("--each", type=int, default=20, help="renderings of each emoji")
    parser.add_argument("--limit", type=int, help="easy-VQA questions; all by default")
    parser.add_argument("--write", type=Path, help="file whose figures are replaced by the table")
    args = parser.parse_args()
    studio = Studio(args.emoji, args.emojibase, test=True)
    known = choose(load(args.bundles[0], device="cpu"), studio)
    measured = [measure(bundle, known, studio, args.each, args.limit) for bundle in args.bundles]
    figures = table(measured, known, studio)
    print(figures)
    if args.write:
        text = args.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        args.write.write_text(f"{before}{BEGIN}\n{figures}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Stage one of training: `python -m examples.tiny.train_tower --emoji DIR --emojibase DIR --out FILE`."""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from examples.tiny.dataset.pictures import IGNORE, Example, Studio, class_count
from examples.tiny.schedule import Clock, adamw, learning_rate, save_state
from examples.tiny.tower import VISION, AuxiliaryHeads, start_tower
from export.reference.model import VisionTower
from omnilmm_lite.config import CLIP_MEAN, CLIP_STD

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """(batch, side, side, 3) uint8 -> (batch, 3, side, side) as omnilmm_lite.picture.reading makes it."""
    scaled = pixels.permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]


def collate(examples: list[Example]) -> Batch:
    """Pixels (batch, side, side, 3) uint8, then class numbers: of patches (batch, patches), of the whole (batch,),
    of ninths (batch, 9), of the ground (batch,).
    """
    return (
        torch.from_numpy(np.stack([example.pixels for example in examples])),
        torch.from_numpy(np.stack([example.labels.patches for example in examples])),
        torch.tensor([example.labels.whole for example in examples]),
        torch.from_numpy(np.stack([example.labels.thirds for example in examples])),
        torch.tensor([example.labels.ground for example in examples]),
    )


class Batches(Dataset[Batch]):
    """Batch number -> batch; the number seeds it, so a resumed run goes on with new pictures."""

    def __init__(self, studio: Studio, size: int, seed: int) -> None:
        self.studio, self.size, self.seed = studio, size, seed

    def __len__(self) -> int:
        return 10**7

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng((self.seed, number))
        return collate([self.studio.example(rng) for _ in range(self.size)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", type=Path, required=True, help="unpacked npm package @lobehub/fluent-emoji-3d")
    parser.add_argument("--emojibase", type=Path, required=True, help="unpacked npm package emojibase-data")
    parser.add_argument("--out", type=Path, required=True, help="file of the training state; resumed from if it exists")
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    studio = Studio(args.emoji, args.emojibase)
    tower, heads = VisionTower(VISION), AuxiliaryHeads(class_count(len(studio.kinds)))
    start_tower(tower)
    optimizer = adamw({tower: args.rate, heads: args.rate})
    clock = Clock.resume(args.out, vars(args), {"tower": tower, "heads": heads}, optimizer)
    batches = Batches(studio, args.batch, args.seed)
    loader = DataLoader(batches, batch_size=None, sampler=range(clock.step, len(batches)), num_workers=1,
                        prefetch_factor=8)  # fmt: skip
    saved = time.monotonic()
    for pixels, patches, whole, _, _ in loader:
        learning_rate(optimizer, clock.progress(args.minutes), clock.step)
        loss, right = heads(tower(normalise(pixels)), patches, whole)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*tower.parameters(), *heads.parameters()], 1.0)
        optimizer.step()
        clock.step += 1
        if clock.step % 20 == 0:
            row = [clock.step, round(clock.seconds()), round(loss.item(), 4), round(right.item(), 3)]
            emoji = (whole > 0) & (whole <= len(studio.kinds)) & (whole != IGNORE)
            with torch.no_grad():
                guess = heads.whole(tower(normalise(pixels[emoji]))).float() if clock.step % 100 == 0 else None
            if guess is not None:
                row.append(round((guess.mean(1).argmax(-1) == whole[emoji]).float().mean().item(), 3))
            with args.out.with_suffix(".csv").open("a", newline="") as file:
                csv.writer(file).writerow(row)
        done = clock.progress(args.minutes) >= 1
        if done or time.monotonic() - saved > 120:
            save_state(args.out, clock, vars(args), {"tower": tower, "heads": heads}, optimizer)
            saved = time.monotonic()
        if done:
            break


if __name__ == "__main__":
    main()

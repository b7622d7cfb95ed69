"""Stage two of training, everything jointly:

`python -m examples.tiny.train --emoji DIR --emojibase DIR --tower FILE --tokenizer DIR --out FILE`.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from examples.tiny import questions
from examples.tiny.network import new_model, packed_hidden_states
from examples.tiny.packing import IGNORE, Packer, Rows, Segment
from examples.tiny.pictures import Example, Studio, class_count
from examples.tiny.schedule import Clock, adamw, learning_rate, save_state
from examples.tiny.tower import AuxiliaryHeads
from examples.tiny.train_tower import Batch as Pictures
from examples.tiny.train_tower import collate, normalise
from export.reference import OmniLMM

AUXILIARY = 0.3  # weight of the tower's own heads
TOWER_RATE = 0.25  # of the rest's: what it learnt in stage one drowns in the noise of a full rate
CHAT_SEGMENTS = 6


@dataclass(frozen=True)
class Batch:
    """`pictures` fewer than `rows`: the last row is a chat without one."""

    pictures: Pictures
    rows: Rows
    easy: torch.Tensor  # (batch,) bool: rows about easy-VQA's kind of picture


class Batches(Dataset[Batch]):
    """Batch number -> batch; the number seeds it."""

    def __init__(self, studio: Studio, packer: Packer, size: int, asked: int, seed: int) -> None:
        self.studio, self.packer, self.size, self.asked, self.seed = studio, packer, size, asked, seed

    def __len__(self) -> int:
        return 10**7

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng((self.seed, number, 2))
        examples = [self.studio.example(rng) for _ in range(self.size)]
        batch = [(True, self._segments(example, rng)) for example in examples]
        chat = [self.packer.segment([questions.chat_pair(rng)], image=False) for _ in range(CHAT_SEGMENTS)]
        easy = torch.tensor([example.scene.background == "easy" for example in examples] + [False])
        return Batch(collate(examples), self.packer.rows([*batch, (False, chat)]), easy)

    def _segments(self, example: Example, rng: np.random.Generator) -> list[Segment]:
        asked = questions.pairs(example.scene, rng, self.asked + 1)
        # One conversation in some has a second turn.
        turns = [[pair] for pair in asked[:-1]]
        if rng.random() < 0.3:
            turns[-1] = asked[-2:]
        return [self.packer.segment(turn, image=True) for turn in turns]


def answer_loss(model: OmniLMM, hidden: torch.Tensor, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy over the learnt ids, and (batch, segments) float: 1 where right word for word, NaN = no segment."""
    learnt = rows.targets != IGNORE
    logits = model.lm_head(hidden[learnt])  # (learnt, vocab)
    targets = rows.targets[learnt]
    loss = F.cross_entropy(logits, targets)
    wrong = torch.zeros_like(rows.targets, dtype=torch.float)
    wrong[learnt] = (logits.argmax(-1) != targets).float()
    count = int(rows.segments.max()) + 1
    slots = rows.segments.clamp(min=0)
    errors = torch.zeros(len(wrong), count).scatter_add(1, slots, wrong)
    present = torch.zeros(len(wrong), count).scatter_add(1, slots, learnt.float())
    return loss, torch.where(present > 0, (errors == 0).float(), torch.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", type=Path, required=True, help="unpacked npm package @lobehub/fluent-emoji-3d")
    parser.add_argument("--emojibase", type=Path, required=True, help="unpacked npm package emojibase-data")
    parser.add_argument("--tower", type=Path, required=True, help="state of the first stage")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.model")
    parser.add_argument("--out", type=Path, required=True, help="file of the training state; resumed from if it exists")
    parser.add_argument("--minutes", type=float, default=52)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--asked", type=int, default=5, help="questions a picture")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    studio = Studio(args.emoji, args.emojibase)
    model, heads = new_model(), AuxiliaryHeads(class_count(len(studio.kinds)))
    stage_one = torch.load(args.tower, weights_only=True)["modules"]
    model.model.vision_tower.load_state_dict(stage_one["tower"])
    heads.load_state_dict(stage_one["heads"])
    packer = Packer((args.tokenizer / "tokenizer.model").read_bytes(), model.config)
    body, slow = model.model, args.rate * TOWER_RATE
    rates = {body.vision_tower: slow, heads: slow, model.lm_head: args.rate}
    rates |= {module: args.rate for module in body.children() if module is not body.vision_tower}
    optimizer = adamw(rates)
    modules = {"model": model, "heads": heads}
    clock = Clock.resume(args.out, vars(args), modules, optimizer)
    batches = Batches(studio, packer, args.batch, args.asked, args.seed)
    loader = DataLoader(batches, batch_size=None, sampler=range(clock.step, len(batches)), num_workers=1,
                        prefetch_factor=8)  # fmt: skip
    saved = time.monotonic()
    for batch in loader:
        learning_rate(optimizer, clock.progress(args.minutes), clock.step)
        pixels, patch_labels, whole = batch.pictures
        patches = model.model.vision_tower(normalise(pixels))
        auxiliary, top1 = heads(patches, patch_labels, whole)
        features = model.model.resampler(patches)
        features = torch.cat([features, features[:1].detach()])  # the chat's row masks its own out
        hidden = packed_hidden_states(model, packer, features, batch.rows)
        loss, right = answer_loss(model, hidden, batch.rows)
        optimizer.zero_grad()
        (loss + AUXILIARY * auxiliary).backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], 1.0)
        optimizer.step()
        clock.step += 1
        if clock.step % 20 == 0:
            easy, other = right[batch.easy], right[:-1][~batch.easy[:-1]]
            figures = [loss, top1, easy.nanmean(), other.nanmean(), right[-1].nanmean()]
            with args.out.with_suffix(".csv").open("a", newline="") as file:
                csv.writer(file).writerow([clock.step, round(clock.seconds()), *(round(x.item(), 4) for x in figures)])
        done = clock.progress(args.minutes) >= 1
        if done or time.monotonic() - saved > 120:
            save_state(args.out, clock, vars(args), modules, optimizer)
            saved = time.monotonic()
        if done:
            break


if __name__ == "__main__":
    main()

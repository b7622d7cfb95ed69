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

from examples.tiny.dataset import questions
from examples.tiny.dataset.pictures import Example, Studio, class_count
from examples.tiny.network import WordHead, new_model, packed_hidden_states
from examples.tiny.packing import IGNORE, Packer, Rows, Segment
from examples.tiny.schedule import Clock, adamw, learning_rate, save_state
from examples.tiny.tower import AuxiliaryHeads
from examples.tiny.train_tower import Batch as Pictures
from examples.tiny.train_tower import collate, normalise
from export.reference.model import OmniLMM

AUXILIARY = 0.3  # weight of the heads that are dropped
TOWER_RATE = 0.25  # of the rest's: what it learnt in stage one drowns in the noise of a full rate
TOWER_JOINS = 0.46  # of the time; before that it stands still, which saves its backward pass
FIRST_TOKEN = 3.0  # its weight in the loss
HINTS = 0.7  # weight of the hints at the ends of yes/no questions
LATER = 100_000  # first batch of a run that goes on: new pictures, and what comes first is over
CHAT_SEGMENTS = 6
EASY_FIRST = 750  # batches with more of easy-VQA's pictures, whose yes and no take longest to begin
AFFIRMATIVE, NEGATION_COMES = 250, 200  # batches


@dataclass(frozen=True)
class Batch:
    """`pictures` fewer than `rows`: the last row is a chat without one."""

    pictures: Pictures
    rows: Rows
    easy: torch.Tensor  # (batch,) bool: rows about easy-VQA's kind of picture


class Batches(Dataset[Batch]):
    """Batch number -> batch; the number seeds it."""

    def __init__(self, studio: Studio, packer: Packer, size: int, row: int, seed: int, first: int) -> None:
        self.studio, self.packer, self.size, self.row, self.seed, self.first = studio, packer, size, row, seed, first

    def __len__(self) -> int:
        return 10**7

    def __getitem__(self, number: int) -> Batch:
        number += self.first
        rng = np.random.default_rng((self.seed, number, 2))
        # Asked half the time, "is there not ...?" hides what "is there ...?" would teach: first the one, then both.
        negated = 0.5 * min(max((number - AFFIRMATIVE) / NEGATION_COMES, 0.0), 1.0)
        easy_share = 0.44 if number < EASY_FIRST else 0.3
        examples = [self.studio.example(rng, easy_share) for _ in range(self.size)]
        batch = [(True, self._segments(example, rng, negated)) for example in examples]
        chat = [self.packer.segment([questions.chat_pair(rng)], image=False) for _ in range(CHAT_SEGMENTS)]
        easy = torch.tensor([example.scene.background == "easy" for example in examples] + [False])
        return Batch(collate(examples), self.packer.rows([*batch, (False, chat)]), easy)

    def _segments(self, example: Example, rng: np.random.Generator, negated: float) -> list[Segment]:
        """As many as a row holds, so that no row is padding; one in some has a second turn."""
        asked = iter(questions.pairs(example.scene, rng, 12, negated))
        segments: list[Segment] = []
        room = self.row
        while room > 0:
            turns = [next(asked), next(asked)] if not segments and rng.random() < 0.3 else [next(asked)]
            segment = self.packer.segment(turns, image=True)
            room -= len(segment.ids)
            if room >= 0 or not segments:
                segments.append(segment)
        return segments


def answer_loss(model: OmniLMM, hidden: torch.Tensor, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy over the learnt ids, and (batch, segments) float: 1 where right word for word, NaN = no segment."""
    learnt = rows.targets != IGNORE
    logits = model.lm_head(hidden[learnt])  # (learnt, vocab)
    targets = rows.targets[learnt]
    first = learnt & ~learnt.roll(1, 1)  # yes or no: the token that everything depends on
    weight = torch.where(first[learnt], FIRST_TOKEN, 1.0)
    loss = (F.cross_entropy(logits, targets, reduction="none") * weight).sum() / weight.sum()
    wrong = torch.zeros_like(rows.targets, dtype=torch.float)
    wrong[learnt] = (logits.argmax(-1) != targets).float()
    count = int(rows.segments.max()) + 1
    slots = rows.segments.clamp(min=0)
    errors = torch.zeros(len(wrong), count).scatter_add(1, slots, wrong)
    present = torch.zeros(len(wrong), count).scatter_add(1, slots, learnt.float())
    return loss, torch.where(present > 0, (errors == 0).float(), torch.nan)


def hint_loss(model: OmniLMM, hidden: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Whether the thing is there, from the word asked for to the question's end: comparing without negating.

    What stands there is given when the model answers, so these targets never come out.
    """
    known = rows.hints != IGNORE
    return F.cross_entropy(model.lm_head(hidden[known]), rows.hints[known])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", type=Path, required=True, help="unpacked npm package @lobehub/fluent-emoji-3d")
    parser.add_argument("--emojibase", type=Path, required=True, help="unpacked npm package emojibase-data")
    parser.add_argument("--tower", type=Path, help="state of the first stage")
    parser.add_argument("--start", type=Path, help="instead of --tower: an earlier state of this stage to go on from")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.model")
    parser.add_argument("--out", type=Path, required=True, help="file of the training state; resumed from if it exists")
    parser.add_argument("--minutes", type=float, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--row", type=int, default=135, help="ids of questions and answers about a picture")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    studio = Studio(args.emoji, args.emojibase)
    classes = class_count(len(studio.kinds))
    model, heads = new_model(), AuxiliaryHeads(classes)
    if args.start:
        earlier = torch.load(args.start, weights_only=True)["modules"]
        model.load_state_dict(earlier["model"])
        heads.load_state_dict(earlier["heads"])
    else:
        earlier = torch.load(args.tower, weights_only=True)["modules"]
        model.model.vision_tower.load_state_dict(earlier["tower"])
        heads.load_state_dict(earlier["heads"])
    packer = Packer((args.tokenizer / "tokenizer.model").read_bytes(), model.config)
    body, slow = model.model, args.rate * TOWER_RATE
    rates = {body.vision_tower: slow, heads: slow, model.lm_head: args.rate}
    rates |= {module: args.rate for module in body.children() if module is not body.vision_tower}
    word_head = WordHead(packer, [kind.name for kind in studio.kinds])
    optimizer = adamw(rates)
    modules = {"model": model, "heads": heads}
    clock = Clock.resume(args.out, vars(args), modules, optimizer)
    batches = Batches(studio, packer, args.batch, args.row, args.seed, LATER if args.start else 0)
    loader = DataLoader(batches, batch_size=None, sampler=range(clock.step, len(batches)), num_workers=1,
                        prefetch_factor=8)  # fmt: skip
    saved = time.monotonic()
    for batch in loader:
        learning_rate(optimizer, clock.progress(args.minutes), clock.step)
        pixels, patch_labels, whole, ninths, grounds = batch.pictures
        with torch.set_grad_enabled(clock.progress(args.minutes) > TOWER_JOINS or args.start is not None):
            patches = model.model.vision_tower(normalise(pixels))
            auxiliary, top1 = heads(patches, patch_labels, whole)
        features = model.model.resampler(patches)
        word_loss, word_top1 = word_head(features, model.model.embed_tokens.weight, whole, ninths, grounds)
        features = torch.cat([features, features[:1].detach()])  # the chat's row masks its own out
        hidden = packed_hidden_states(model, packer, features, batch.rows)
        loss, right = answer_loss(model, hidden, batch.rows)
        optimizer.zero_grad()
        (loss + HINTS * hint_loss(model, hidden, batch.rows) + AUXILIARY * (auxiliary + word_loss)).backward()
        torch.nn.utils.clip_grad_norm_([weight for module in modules.values() for weight in module.parameters()], 1.0)
        optimizer.step()
        clock.step += 1
        if clock.step % 20 == 0:
            easy, other = right[batch.easy], right[:-1][~batch.easy[:-1]]
            figures = [loss, top1, word_top1, easy.nanmean(), other.nanmean(), right[-1].nanmean()]
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

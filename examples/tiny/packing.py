"""Several questions about one picture as one row that shares the picture's keys and values.

A row is [picture block][question 1 ... answer 1][question 2 ...]...; every question sees the constant prefix, the
picture and itself only, at the positions it would have alone. So the tower and the picture's tokens run once for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sentencepiece
import torch
from torch import Tensor

from examples.tiny.dataset.questions import Pair, asked_for_is_there
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.text.prompt import DEFAULT_SYSTEM

IGNORE = -100


@dataclass(frozen=True)
class Segment:
    """What follows the picture block (or the system turn): ids, and which of them are learnt."""

    ids: list[int]
    learnt: list[bool]  # id i is to be predicted from what stands before it
    hints: dict[int, int]  # place -> id that says whether what a question asks for is there


@dataclass(frozen=True)
class Rows:
    """A batch of packed rows. `length` columns, padded at the end."""

    ids: Tensor  # (batch, length) int64; the picture's columns hold im_patch
    positions: Tensor  # (batch, length)
    mask: Tensor  # (batch, 1, length, prefix + length) bool, True = visible
    targets: Tensor  # (batch, length): the next id where it is learnt, else IGNORE
    hints: Tensor  # (batch, length): extra targets at the ends of yes/no questions, else IGNORE
    segments: Tensor  # (batch, length): the segment's number within the row, -1 elsewhere


class Packer:
    """Turns questions into ids and ids into rows."""

    def __init__(self, tokenizer_model: bytes, config: OmniLMMConfig) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer_model)
        self._cache: dict[str, list[int]] = {}
        tokens = config.tokens
        self._eos = [tokens.eos]
        system = [tokens.bos, *self.encode(f"<|system|>\n{DEFAULT_SYSTEM}"), tokens.eos]
        self.prefix = [*system, *self.encode("\n<|user|>\n"), tokens.im_start]
        self.system_length = len(system)
        self.picture = [tokens.im_patch] * config.resampler.num_queries + [tokens.im_end]
        self._heading = self.encode("\n<|assistant|>\n")
        self._articles = [self.encode(word)[0] for word in ("a", "an", "no")]
        self._yes, self._no = (self.encode(f"\n{word}")[-1] for word in ("yes", "no"))

    def encode(self, text: str) -> list[int]:
        ids = self._cache.get(text)
        if ids is None:
            ids = self._cache[text] = self._processor.encode(text)
        return ids

    def decode(self, ids: list[int]) -> str:
        text: str = self._processor.decode(ids)
        return text

    def segment(self, turns: Sequence[Pair], *, image: bool) -> Segment:
        """One conversation; with `image` it goes on after im_end, else after the system turn's eos."""
        ids: list[int] = []
        learnt: list[bool] = []
        hints: dict[int, int] = {}
        for number, (question, answer) in enumerate(turns):
            start = "\n" if image and number == 0 else "\n<|user|>\n"
            asked = [*self.encode(start + question), *self._eos, *self._heading]
            whole = self.encode(f"\n<|assistant|>\n{answer}")
            reply = [*whole[len(self._heading) :], *self._eos]
            present = asked_for_is_there(question, answer)
            if present is not None:
                # From the word that is asked for on: where it stands, nothing but the picture is still needed.
                asked_for = 1 + next(place for place, token in enumerate(asked) if token in self._articles)
                places = range(len(ids) + asked_for, len(ids) + len(asked) - len(self._heading))
                hints |= dict.fromkeys(places, self._yes if present else self._no)
            ids += asked + reply
            learnt += [False] * len(asked) + [True] * len(reply)
        return Segment(ids, learnt, hints)

    def rows(self, batch: Sequence[tuple[bool, Sequence[Segment]]]) -> Rows:
        """`batch`: (has a picture, its segments) for each row."""
        picture, prefix = len(self.picture), len(self.prefix)
        length = picture + max(sum(len(segment.ids) for segment in segments) for _, segments in batch)
        ids = torch.zeros(len(batch), length, dtype=torch.long)
        positions = torch.zeros_like(ids)
        targets = torch.full_like(ids, IGNORE)
        hints = torch.full_like(ids, IGNORE)
        number = torch.full_like(ids, -1)
        ids[:, :picture] = torch.tensor(self.picture)
        positions[:, :picture] = prefix + torch.arange(picture)
        for row, (image, segments) in enumerate(batch):
            at = picture
            first = prefix + picture if image else self.system_length
            for count, segment in enumerate(segments):
                end = at + len(segment.ids)
                ids[row, at:end] = torch.tensor(segment.ids)
                positions[row, at:end] = first + torch.arange(end - at)
                number[row, at:end] = count
                learnt = torch.tensor(segment.learnt[1:])
                following = torch.tensor(segment.ids[1:])
                targets[row, at : end - 1] = torch.where(learnt, following, IGNORE)
                for place, token in segment.hints.items():
                    hints[row, at + place] = token
                at = end
        has_image = torch.tensor([image for image, _ in batch])
        return Rows(ids, positions, self._mask(number, has_image), targets, hints, number)

    def _mask(self, number: Tensor, has_image: Tensor) -> Tensor:
        """(batch, length) segment numbers, (batch,) -> (batch, 1, length, prefix + length)."""
        length = number.shape[1]
        picture, prefix = len(self.picture), len(self.prefix)
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        same = number[:, :, None] == number[:, None, :]  # the picture block and the padding count as one another's
        in_picture = torch.arange(length) < picture
        sees_picture = has_image[:, None, None] & in_picture[None, None, :]
        is_text = (number >= 0)[:, :, None] & (number >= 0)[:, None, :]
        own = causal & ((same & is_text) | sees_picture | (in_picture[:, None] & in_picture[None, :]))
        own |= torch.eye(length, dtype=torch.bool)  # padding sees itself: a row without any key is not a number
        constant = (torch.arange(prefix) < self.system_length) | has_image[:, None]  # (batch, prefix)
        return torch.cat([constant[:, None, :].expand(-1, length, -1), own], dim=-1)[:, None]

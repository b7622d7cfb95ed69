"""Drafts of how an answer goes on: where its last tokens have occurred before, what followed them then is tried again.

A step of a few tokens reads the weights once, as a step of one does, so checking a draft costs less than the steps that
it saves if most of it is right. Nothing is lost but time if it is wrong: each token is still drawn from the model's own
logits. Source: A. Saxena, "Prompt Lookup Decoding" (2023).

These logits differ from a plain step's by rounding (`Decoder.decode_logits`). With float activations that turns ties.
With int8 ones, as in the CPU presets, it grows to that format's own error, as with any other order of sums (where the
cache holds the prompt already, for one): the answer is as good, but need not be the one without drafts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

# Tokens that must agree. Drafts from two save no more than their checks cost, and from one less: docs/drafts.md
NGRAM = 3
LONGEST = 3
# What a step that checks so many draft tokens costs more than one without, in steps: what the full model took on two
# cores, in the median (docs/drafts.md). A figure and not a clock decides, so that the same question gets the same
# answer again.
EXTRA_COST = (0.0, 0.3, 0.6, 0.9)
# Steps that drafts may lose before they pause. Two wrong ones are no pattern yet.
CREDIT = 1.8
# Steps of a pause. The draft that is tried behind it costs 0.9 steps at most, so an answer that never repeats itself
# takes at most 0.9 / 33, or 2.7 %, longer, and the 2.7 steps of the beginning.
PAUSE = 32


class Lookup:
    """What followed the last occurrence of each n-gram in a text that grows; a token costs the same however long it is.

    A run that repeats itself is continued beyond its end: behind `a b a b a b` comes `a b a`.
    """

    def __init__(self, breaks: Collection[int]) -> None:
        """`breaks`: tokens that are no part of the text: no draft holds them, and no n-gram reaches across them."""
        self._breaks = breaks
        self._tokens: list[int] = []
        self._unbroken = 0  # tokens since the last break
        self._followed: dict[tuple[int, ...], int] = {}  # n-gram -> index of the token behind it

    def extend(self, tokens: Iterable[int]) -> None:
        """Takes more of the text that drafts are looked up in."""
        for token in tokens:
            end = len(self._tokens)
            self._tokens.append(token)
            if token in self._breaks:
                self._unbroken = 0
                continue
            if self._unbroken >= NGRAM:
                self._followed[tuple(self._tokens[end - NGRAM : end])] = end
            self._unbroken += 1

    def draft(self, limit: int) -> list[int]:
        """Up to `limit` tokens that followed the text's last ones before; none where these are new."""
        if self._unbroken < NGRAM:
            return []
        start = self._followed.get(tuple(self._tokens[-NGRAM:]))
        return [] if start is None else self._copy(start, limit)

    def _copy(self, start: int, limit: int) -> list[int]:
        copied: list[int] = []
        period = len(self._tokens) - start
        for place in range(limit):
            token = self._tokens[start + place] if place < period else copied[place - period]
            if token in self._breaks:
                break
            copied.append(token)
        return copied


class Drafts:
    """The drafts of one answer, given only while they save more steps than they cost.

    They live on credit: a draft costs what its check takes longer than a plain step, a token that was right brings one
    step. Where the credit is used up, none are given for a while, then one is tried again.
    """

    def __init__(self, breaks: Collection[int]) -> None:
        """`breaks`: as for `Lookup`."""
        self._lookup = Lookup(breaks)
        self._credit = CREDIT
        self._pause = 0

    def extend(self, tokens: Iterable[int]) -> None:
        """What the prompt or the answer holds behind what was given before."""
        self._lookup.extend(tokens)

    def propose(self, limit: int) -> list[int]:
        """A draft of at most `limit` tokens for the next step; it may be empty."""
        if self._credit < 0:
            self._credit, self._pause = 0.0, PAUSE
        if self._pause:
            self._pause -= 1
            return []
        draft = self._lookup.draft(min(limit, LONGEST))
        self._credit -= EXTRA_COST[len(draft)]
        return draft

    def accept(self) -> None:
        """One more token of the last draft was right."""
        self._credit = min(self._credit + 1, CREDIT)

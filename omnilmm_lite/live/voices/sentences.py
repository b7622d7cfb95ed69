"""A stream of text cut into sentences as it comes, so that each can be said before the next is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 300  # characters; a sentence that goes on is cut between words
_CLOSING = r"\"'\u2019\u201d)\]\u00bb\u300d\u300f\uff09\u3011"  # quotation marks and brackets that may follow a mark
_MARKS = r".!?\u2026\u061f\u0964"  # among them an ellipsis, Arabic's question mark, Hindi's full stop
_WIDE_MARKS = r"\u3002\uff01\uff1f"  # Chinese and Japanese: no space follows
_END = re.compile(
    rf"(?P<mark>[{_MARKS}]+)[{_CLOSING}]*(?P<space>\s+)(?=\S)"
    rf"|[{_WIDE_MARKS}]+[{_CLOSING}]*\s*(?=[^\s{_WIDE_MARKS}{_CLOSING}])"
    r"|\n\s*(?=\S)"  # a paragraph, an item of a list
)
_LAST_WORD = re.compile(r"[^\s(\[\"'\u2018\u201c\u00ab]*$")
_DOTTED = re.compile(r"(\w\.)*[^\W\d]")  # an initial, "e.g", "U.S"
_ABBREVIATIONS = frozenset(("approx", "ca", "cf", "dr", "mr", "mrs", "ms", "prof", "st", "vs"))  # that end no sentence
_BEFORE_NUMBERS = frozenset(("fig", "no", "nr", "p", "pp", "vol"))  # that end none before a number


class SentenceCutter:
    """Joined, the sentences are the text, spaces and all. How the text was divided into pieces makes no difference."""

    def __init__(self) -> None:
        self._text = ""  # of which no sentence has been made yet

    def push(self, piece: str) -> list[str]:
        """The sentences that `piece` completes; one is complete when what follows it has begun."""
        self._text += piece
        return list(self._cut())

    def finish(self) -> list[str]:
        """What is left, at the text's end."""
        rest, self._text = self._text, ""
        return [rest] if rest else []

    def _cut(self) -> Iterator[str]:
        while (end := _end_of_first(self._text)) is not None:
            yield self._text[:end]
            self._text = self._text[end:]


def _end_of_first(text: str) -> int | None:
    """Where the first sentence ends; None where that can't be known yet."""
    for found in _END.finditer(text, 0, LONGEST + 1):  # and one that shows that the next has begun
        if found["mark"] != "." or "\n" in found["space"] or _ends_sentence(text[: found.start()], text[found.end()]):
            return found.end()
    if len(text) <= LONGEST:
        return None
    between_words = max(text.rfind(" ", 0, LONGEST), text.rfind("\n", 0, LONGEST))
    return between_words + 1 if between_words >= 0 else LONGEST


def _ends_sentence(before: str, following: str) -> bool:
    """Whether a full stop between `before` and the character `following` ends a sentence."""
    found = _LAST_WORD.search(before)
    word = found.group().lower() if found is not None else ""
    return not (
        following.islower()
        or before.strip().isdecimal()  # a list's item: nothing else stands before the number
        or word in _ABBREVIATIONS
        or (word in _BEFORE_NUMBERS and following.isdecimal())
        or _DOTTED.fullmatch(word)
    )

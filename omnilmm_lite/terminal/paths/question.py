"""What is left of a line when the paths in it are taken for the picture."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NOUN, CHINESE_NOUN = "the picture", "这张图片"
# behind these, a sentence wants a noun where the path stood
WANTING = re.compile(
    r"(?:about|analyse|analyze|and|are|around|at|beside|between|by|caption|compare|describe|do|does|explain|for|from|"
    r"has|in|inside|into|is|like|near|of|on|or|read|see|show|summarise|summarize|than|to|translate|what's|whats|with|"
    r"within)",
    re.IGNORECASE,
)
_PAIRS = ("()", "[]", "{}", "<>", "«»", "「」", "『』", "《》", "（）", "【】", "''", '""')  # noqa: RUF001
_SENTENCE_ENDS = ".?!。？！…"  # noqa: RUF001
_LOOSE = " \t\r\n,;:-–—，：；、@="  # noqa: RUF001  # what ties a path to the words beside it
_LAST_WORD = re.compile(r"(?:^|\s)([^\W\d_](?:\w|['’])*)\s+$")  # noqa: RUF001


def question_around(text: str, paths: Sequence[tuple[int, int]]) -> str:
    """The line without its paths, or with "the picture" where the sentence needs a word for one. Empty where no word is
    left. `paths`: beginnings and ends, in order."""
    if not paths:
        return text.strip()
    said = text[: paths[0][0]]
    following_starts = [start for start, _ in paths[1:]] + [len(text)]
    for (_, end), until in zip(paths, following_starts, strict=True):
        said = _joined(said, text[end:until])
    question = said.strip(_LOOSE).lstrip(_SENTENCE_ENDS + _LOOSE)
    return question if any(letter.isalnum() for letter in question) else ""


def _joined(before: str, after: str) -> str:
    if before[-1:] + after[:1] in _PAIRS:
        before, after = before[:-1], after[1:]
    if noun := _noun(before, after):
        return before + noun + after
    left, right = before.rstrip(), after.lstrip()
    if not left.strip(_LOOSE):
        return right
    if left[-1] in _SENTENCE_ENDS:
        right = right.lstrip(_SENTENCE_ENDS + _LOOSE)
    if not right or right[0] in _SENTENCE_ENDS + ",;":
        return left.rstrip(_LOOSE) + right
    return left + ("\n" if "\n" in before[len(left) :] + after[: len(after) - len(right)] else " ") + right


def _noun(before: str, after: str) -> str:
    if _is_letter_of_chinese(before[-1:]) or _is_letter_of_chinese(after[:1]):
        return CHINESE_NOUN
    word = _LAST_WORD.search(before)
    is_owner = after.startswith(("'s ", "’s ")) and bool(before.strip())  # noqa: RUF001
    return NOUN if is_owner or (word is not None and WANTING.fullmatch(word[1])) else ""


def _is_letter_of_chinese(letter: str) -> bool:
    return letter != "" and unicodedata.name(letter, "").startswith("CJK UNIFIED IDEOGRAPH")

"""A line of the chat: the pictures that it names, wherever their paths stand in it, and the question around them.

A path is what leads to a file, and what can be nothing else: such a one is never taken for words, so that a picture
that is missing isn't asked about. Words with a slash or a dot in them stay words.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from omnilmm_lite.picture.kinds.kind import Kind
from omnilmm_lite.terminal.paths.question import question_around
from omnilmm_lite.terminal.paths.readings import LONGEST, QUOTES, named_file, unquoted

SUFFIXES = tuple(suffix for kind in Kind for suffix in kind.suffixes)  # those that can't be read are said to be so
MOST_WORDS = 24  # of a path with spaces that nothing holds together
MOST_LOOKS, MOST_LOOKED_AT = 400, 100_000  # at the disk, for one line, and letters of the names that are looked for
MOST_LETTERS = 64  # of a name that begins amid letters of a script without spaces

_SUFFIX = re.compile(
    f"(?:{'|'.join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True)))})" r"(?![A-Za-z0-9_/\\])", re.IGNORECASE
)
_NAME = re.compile(r"[./\\]")  # what no name that is looked for is without
_ANY_SUFFIX = re.compile(r"[^\s/\\.]\.[A-Za-z0-9]{1,5}$")
_QUOTED = re.compile(
    r"'[^'\n]*'(?:(?:\\'|\"'\")'[^'\n]*')*"  # the second part is how shells write an apostrophe
    + "".join(f"|{opening}[^{closing}\n]*[{closing}]" for opening, closing in QUOTES.items() if opening != "'")
)
_END = re.compile(r"(?<!\\)\s+$")  # a space behind a backslash is a name's
_WORD = re.compile(r"(?:\\[^\n]|[^\s\\]|\\)+")
_OPENING = "([{<«「『《（【@=:,;，：；、。！？"  # noqa: RUF001  # a path may begin behind them  # fmt: skip
_BEHIND = ".,;:!?)]}>»«›‹」』》）】，：；、。！？…'\"”’“‘`"  # noqa: RUF001  # what may follow a path without being part of it
_ADDRESS = re.compile(r"(?<![A-Za-z])(?!file:)[A-Za-z][A-Za-z0-9+.-]*://\S", re.IGNORECASE)
_BEGINS_LIKE_A_PATH = re.compile(
    r"file:/"
    r"|~\w*[/\\][^\s/\\]"
    r"|\.{1,2}[/\\][^\s/\\]"
    r"|[A-Za-z]:[/\\][^\s/\\]"
    r"|\\\\[^\s/\\]+\\[^\s/\\]"
    r"|//?[^\s/\\]+/[^\s/\\]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TypedLine:
    """`pictures`: in the line's order; a text where it leads to no file. `question`: empty where there is none."""

    pictures: tuple[str | Path, ...]
    question: str
    begins_with_picture: bool = False


@dataclass(frozen=True)
class _Word:
    start: int
    end: int
    is_quoted: bool


def read_line(line: str) -> TypedLine:
    """What a line names and asks."""
    text = _END.sub("", line.lstrip())
    if text.startswith("& ") and text[2:3] in ("'", '"'):  # PowerShell's call, which some terminals put in front
        text = text[2:]
    if not text or len(text) > LONGEST:
        return TypedLine((), text)
    found: list[tuple[int, int, str | Path]] = list(_files(text))
    found += list(_dead_ends(text, [(start, end) for start, end, _ in found]))
    found.sort(key=lambda each: each[0])
    pictures = tuple(dict.fromkeys(picture for _, _, picture in found))
    question = question_around(text, [(start, end) for start, end, _ in found])
    return TypedLine(pictures, question, bool(found) and found[0][0] == 0)


def is_path(text: str) -> bool:
    """Whether a text as a whole leads to a file or, being one word, can be nothing but a path."""
    is_word = not any(letter.isspace() for letter in text)
    return named_file(text) is not None or (is_word and (_looks_like_a_path(text) or bool(_ADDRESS.match(text))))


# ---- what leads to a file ----


def _files(text: str) -> Iterator[tuple[int, int, Path]]:
    """Where files are named, from the left: of two names that begin alike the longer one."""
    words = _words(text)
    after, letters = 0, 0
    for start, end in islice(_spans(text, words), MOST_LOOKS):
        letters += end - start
        if letters > MOST_LOOKED_AT:
            return
        if start >= after and (path := _leads_to_file(text[start:end])) is not None:
            yield start, end, path
            after = end


def _leads_to_file(text: str) -> Path | None:
    """The file, if the text has more of a path than a word that happens to be a file's name has."""
    path = named_file(text)
    plain = unquoted(text)
    is_more = path is not None and (_ANY_SUFFIX.search(path.name.strip()) or "/" in plain or "\\" in plain)
    return path if is_more else None


def _spans(text: str, words: list[_Word]) -> Iterator[tuple[int, int]]:
    """What may be a file's name, in the order in which to look: the whole line first, then from the left, of those that
    begin at the same place the longest first."""
    yield 0, len(text)
    for index, word in enumerate(words):
        if word.is_quoted:
            yield word.start, word.end
            continue
        ends = [end for later in _reach(text, words, index) for end in _suffix_ends(text, later)]
        for start in _own_starts(text, word):
            alone = [word.end, word.start + len(text[word.start : word.end].rstrip(_BEHIND))]
            is_amid = start > word.start and _is_wide(text[start - 1]) and _is_wide(text[start])
            for end in sorted({*ends, *alone}, reverse=True):
                if start < end <= start + (MOST_LETTERS if is_amid else LONGEST) and _NAME.search(text, start, end):
                    yield start, end


def _reach(text: str, words: list[_Word], index: int) -> Iterator[_Word]:
    """A word and those behind it that could be parts of one name: of the same line, not quoted."""
    first = words[index]
    for word in words[index : index + MOST_WORDS]:
        if word.is_quoted or "\n" in text[first.start : word.start]:
            return
        yield word


def _suffix_ends(text: str, word: _Word) -> Iterator[int]:
    """Behind each of its endings of a picture's file."""
    for match in _SUFFIX.finditer(text, word.start, word.end):
        yield match.end()


def _starts(text: str, word: _Word) -> Iterator[int]:
    """Where in a word a path may begin: at its beginning, behind punctuation, and behind letters of scripts that put no
    spaces between words."""
    yield word.start
    for index in range(word.start + 1, word.end):
        if text[index - 1] in _OPENING or _is_wide(text[index - 1]):
            yield index


def _own_starts(text: str, word: _Word) -> Iterator[int]:
    r"""Those that aren't amid another path: `C:\cat.png` isn't the cat.png that lies here."""
    outer: int | None = None  # where that one begins
    for start in _starts(text, word):
        if outer is not None and not any(end <= start for end in _suffix_ends(text, _Word(outer, word.end, False))):
            continue
        yield start
        is_path = _BEGINS_LIKE_A_PATH.match(text, start, word.end) or _ADDRESS.match(text, start, word.end)
        outer = start if is_path or text[start] in "/\\" else None


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _words(text: str) -> list[_Word]:
    """A quotation is one word, and so is what backslashes hold together."""
    words, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        quoted = _QUOTED.match(text, at) if text[at] in QUOTES else None
        if quoted and _ends_a_word(text[quoted.end() : quoted.end() + 1]):
            words.append(_Word(at, quoted.end(), is_quoted=True))
            at = quoted.end()
            continue
        match = _WORD.match(text, at)
        assert match is not None
        words.append(_Word(at, match.end(), is_quoted=False))
        at = match.end()
    return words


def _ends_a_word(following: str) -> bool:
    return not following.isascii() or following.isspace() or following in _BEHIND  # nothing, at the line's end, too


# ---- what can be nothing but a path, and leads to none ----


def _dead_ends(text: str, taken: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """Where paths stand that lead nowhere, to a folder, or to a picture on the network."""
    words, after = list(_left_of(text, list(taken))), 0
    for index, word in enumerate(words):
        if word.start < after:
            continue
        for start in [word.start] if word.is_quoted else _likely_starts(text, word):
            if (end := _dead_end(text, words, index, start)) is not None:
                yield start, end, unquoted(text[start:end])
                after = end
                break


def _left_of(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[_Word]:
    """The words without what is taken, of which several names in one word may be parts."""
    for word in _words(text):
        inside = sorted(span for span in taken if span[0] < word.end and word.start < span[1])
        if word.is_quoted and inside:
            continue
        at = word.start
        for start, end in inside:
            if at < start:
                yield _Word(at, start, is_quoted=False)
            at = max(at, end)
            while at < word.end and text[at] in _OPENING:
                at += 1
        if at < word.end:
            yield _Word(at, word.end, word.is_quoted)


def _likely_starts(text: str, word: _Word) -> list[int]:
    """Where in a word a path may begin, the likeliest first: what begins like one, then the word itself."""
    ends = list(_suffix_ends(text, word))
    address = _ADDRESS.search(text, word.start, word.end)
    starts = [word.start]
    for start in _starts(text, word):
        begins_like_one = _BEGINS_LIKE_A_PATH.match(text, start, word.end) is not None
        has_suffix = bool(ends) and start < ends[-1]
        is_of_address = address is not None and address.start() < start
        # between letters of a script without spaces, a slash may be one more of them
        is_path = begins_like_one and not is_of_address and (has_suffix or text[start - 1 : start] in _OPENING)
        if is_path or (address is not None and address.start() == start):
            starts.append(start)
    return sorted(dict.fromkeys(starts), key=lambda start: _BEGINS_LIKE_A_PATH.match(text, start) is None)


def _dead_end(text: str, words: list[_Word], index: int, start: int) -> int | None:
    """Where the path that begins at `start` ends; None where none does."""
    word = words[index]
    if word.is_quoted:
        return word.end if _looks_like_a_path(unquoted(text[word.start : word.end])) else None
    whole = text[start : word.end].rstrip(_BEHIND)
    if _ADDRESS.match(whole):
        is_picture = _SUFFIX.search(whole.partition("?")[0].partition("#")[0]) or whole == text.rstrip(_BEHIND)
        return start + len(whole) if is_picture else None
    ends = [end for end in _suffix_ends(text, word) if end > start]
    if ends and _looks_like_a_path(unquoted(text[start : ends[-1]])):
        return ends[-1]
    if not _looks_like_a_path(unquoted(whole)):
        return None
    if not _leads_to_folder(whole):  # perhaps a name with spaces
        for later in list(_reach(text, words, index))[1:]:
            if _BEGINS_LIKE_A_PATH.match(text[later.start : later.end]):
                break
            if ends := list(_suffix_ends(text, later)):
                return ends[-1]
    return start + len(whole)


def _looks_like_a_path(text: str) -> bool:
    if _ADDRESS.match(text):
        return False
    if _BEGINS_LIKE_A_PATH.match(text):
        return True
    name = re.split(r"[/\\]", text)[-1].strip()
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem.strip(". "):
        return text.startswith("/") and text.strip("/") != "" and _leads_to_folder(text)
    if f".{suffix.lower()}" in SUFFIXES:
        return True
    is_like_one = bool(difflib.get_close_matches(suffix.lower(), [each[1:] for each in SUFFIXES], 1, 0.75))
    return is_like_one and suffix.isalnum() and name != text.strip()


def _leads_to_folder(text: str) -> bool:
    try:
        return Path(unquoted(text)).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):
        return False

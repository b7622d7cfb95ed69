"""From an answer that is to be a list to tags: short, in small letters, each once."""

from __future__ import annotations

import re

TAGS_PROMPT = "List what this picture shows as short tags, separated by commas. Give the tags alone."
MAX_TAGS = 50
MAX_WORDS = 4
MAX_LENGTH = 40  # characters
_SEPARATORS = re.compile(r"[,;\n|\u3001\uff0c]+")
_MARKS = re.compile(r"^\s*(?:[-*\u2022#]+|\d+[.)])\s*")  # of a list's points
_LEAD_IN = re.compile(r"^[^:,\n]{0,80}:\s+")  # "Here are some tags:"
# Words of a sentence, which no tag has.
_VERBS = {"is", "are", "was", "were", "has", "have", "shows", "show", "depicts", "there", "this", "these", "it"}


def clean_tags(text: str) -> tuple[str, ...]:
    """The tags in an answer, in their order; none where it is a sentence rather than a list."""
    tags: dict[str, None] = {}
    for part in _SEPARATORS.split(_LEAD_IN.sub("", text.strip(), count=1)):
        tag = " ".join(_MARKS.sub("", part).strip(" \t\"'`.!?()[]{}_*").replace("_", " ").split()).lower()
        words = tag.split()
        if tag and len(words) <= MAX_WORDS and len(tag) <= MAX_LENGTH and not _VERBS & {*words}:
            tags.setdefault(tag)
        if len(tags) == MAX_TAGS:
            break
    return tuple(tags)

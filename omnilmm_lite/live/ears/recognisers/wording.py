"""Recognised words as somebody would type them."""

from __future__ import annotations

import re
import unicodedata

_ASKS = re.compile(  # what an English question begins with
    r"(am|is|are|was|were|do|does|did|has|have|had|can|could|may|might|must|shall|should|will|would"
    r"|what|when|where|which|who|whom|whose|why|how)(n't|'s|'re|'d|'ll)?(?= |$)",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(r"\bi(?= |$|'(?:m|d|ll|ve)\b)")


def as_sentence(words: str) -> str:
    """`words` with a capital and a mark at the end, a question mark where they ask in English; "" for none.

    Most recognisers give neither, some only capitals. A model answers "is there a dog" otherwise than "Is there a
    dog?", for which it was trained. What has a mark at its end already, or no capitals at all in its script, is left
    as it is.
    """
    text = " ".join(words.split())
    if not text or unicodedata.category(text[-1]).startswith("P") or text.lower() == text.upper():
        return text
    if text.isupper():
        text = text.lower()
    text = _FIRST_PERSON.sub("I", text)
    return text[0].upper() + text[1:] + ("?" if _ASKS.match(text) else ".")

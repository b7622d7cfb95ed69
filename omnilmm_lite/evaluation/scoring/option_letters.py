"""Which option an answer names, by the rules of VLMEvalKit of February 2024."""

from __future__ import annotations

from collections.abc import Mapping

REFUSED = "Z"  # read, and wrong: the answer refuses to choose

SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
NO_ANSWER = "Failed to obtain answer via API"
# Case and apostrophes as they stand: a typographic one makes it no refusal.
REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


def extract_option(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter of one of `options`; REFUSED; or None where neither a letter nor an option's text decides.

    Letters are single words between blanks and SEPARATORS, so an article "A" is option A. Where there is none, or more
    than one, the only option whose text the answer contains counts, whatever its case.
    """
    letter = None if NO_ANSWER in answer else _by_letter(answer, options)
    return letter or _by_text(answer, options)


def _by_letter(answer: str, options: Mapping[str, str]) -> str | None:
    if any(refusal in answer for refusal in REFUSALS):
        return REFUSED
    words = set(answer.translate(SEPARATORS).split())
    named = [letter for letter in options if letter in words]
    if len(named) == 1:
        return named[0]
    return REFUSED if not named and REFUSED in words else None


def _by_text(answer: str, options: Mapping[str, str]) -> str | None:
    lowered = answer.lower()
    contained = [letter for letter, text in options.items() if text.lower() in lowered]
    return contained[0] if len(contained) == 1 else None

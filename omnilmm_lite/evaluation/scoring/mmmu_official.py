"""MMMU's own rules: how its authors read an answer, of a choice or open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.scoring.result import Verdict

STRIPPED = ",.!?;:'"  # one after the other, each once
WORDS_FOR_TEXT = 5  # a longer answer may name an option by its text
INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
TRIVIAL = frozenset(":,.!?;'")
DECIMALS = 2

SENTENCE_END = re.compile(r"\.\s(?=[A-Z])|\n")
NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),  # with commas
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),  # scientific
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def parse_choice(answer: str, options: Mapping[str, str]) -> str | None:
    """The last letter in brackets; else the last that is a word between blanks; else, in an answer of more than five
    words, the option whose text comes last; else None, where the official script draws one at random."""
    for sign in STRIPPED:
        answer = answer.strip(sign)
    answer = f" {answer} "
    lowered = answer.lower()
    searches = [
        {letter: answer.rfind(f"({letter})") for letter in options},
        {letter: answer.rfind(f" {letter} ") for letter in options},
    ]
    if len(answer.split()) > WORDS_FOR_TEXT:
        searches.append({letter: lowered.rfind(text.lower()) for letter, text in options.items()})
    for places in searches:
        if found := {letter: place for letter, place in places.items() if place >= 0}:
            return max(found, key=lambda letter: found[letter])
    return None


def parse_open(answer: str) -> list[str | float]:
    """What an open answer may mean: tails of its lines behind words such as "is", and the numbers in them."""
    tails = _tails(answer.strip().strip(".").lower())
    numbers = [number for tail in tails for pattern in NUMBERS for number in pattern.findall(tail)]
    return [value for text in (*tails, *numbers) for value in _normalized(text)]


def is_right_open(predicted: Iterable[str | float], golds: Iterable[str]) -> bool:
    """Whether a right text stands inside a predicted one, or a right number is among the predicted ones."""
    wanted = [value for gold in golds for value in _normalized(gold)]
    return any(
        any(isinstance(gold, str) and gold in value for gold in wanted) if isinstance(value, str) else value in wanted
        for value in predicted
    )


def verdict(prediction: Prediction) -> Verdict:
    """By the kind of question: one with options is a choice."""
    item = prediction.item
    if item.options:
        letter = parse_choice(prediction.text, item.options)
        return Verdict(item.index, letter, letter is not None and letter in _golds(item))
    values = parse_open(prediction.text)
    extracted = " | ".join(str(value) for value in values) if prediction.text.strip() else None
    return Verdict(item.index, extracted, is_right_open(values, _golds(item)))


def _golds(item: Item) -> list[str]:
    """The right answers: the data has several as the text of a Python list."""
    answer = item.answer or ""
    if answer.startswith("[") and answer.endswith("]"):
        try:
            found = ast.literal_eval(answer)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [answer]
        if isinstance(found, list):
            return [str(each) for each in found]
    return [answer] if item.answer is not None else []


def _tails(answer: str) -> list[str]:
    """Of each line the shortest text behind an indicator; the whole answer where there is none. The answer is in lower
    case already, as in the official script, so a sentence's end is never seen."""
    lines = SENTENCE_END.split(answer)
    tails = []
    for number, line in enumerate(lines, start=1):
        indicators = (*INDICATORS, "=") if number == len(lines) else INDICATORS
        shortest = ""
        for indicator in indicators:
            if indicator in line:
                tail = line.split(indicator)[-1].strip()
                if not shortest or len(tail) < len(shortest):
                    shortest = tail
        if shortest and shortest not in TRIVIAL:
            tails.append(shortest)
    return tails or [answer]


def _normalized(text: str) -> list[str | float]:
    """A number, rounded; or lower case, where a single letter counts only beside a blank."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), DECIMALS)]
    except ValueError:
        lowered = text.lower()
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]

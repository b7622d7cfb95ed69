"""One question of a benchmark, as its file has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})

# Cells that pandas 2 takes for an absent value: with the kit, such an option is not there.
READ_AS_ABSENT = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
        "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip

QUERY = "query"  # attribute: MathVista's prompt, with hint and choices
NOT_A_LIST = "picture not in a list"  # attribute of an MMMU row whose picture the kit can't show for that reason


class Picture(Protocol):
    """Where a picture's bytes lie."""

    @property
    def key(self) -> str:
        """The same for the same picture: what is encoded once may be kept under it."""

    def read(self) -> bytes:
        """The file's bytes, still encoded. InputError, with the place, where they can't be had."""


@dataclass(frozen=True)
class Item:
    """A row of the data. Texts are the file's own, neither stripped nor folded."""

    index: str
    question: str
    answer: str | None = None  # the right one; None where the data doesn't say it
    pictures: tuple[Picture, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)  # by letter, only those that the row has
    hint: str | None = None
    category: str | None = None
    l2_category: str | None = None
    split: str | None = None
    group: str | None = None  # what several rows share: MME's picture
    place: str = ""  # "line 12", for messages
    attributes: Mapping[str, str] = field(default_factory=dict)  # the benchmark's other columns, lists as JSON

    @property
    def options_of_kit(self) -> Mapping[str, str]:
        """Without those whose text reads as an absent cell, such as "None" or "N/A"."""
        return {letter: text for letter, text in self.options.items() if text not in READ_AS_ABSENT}


@dataclass(frozen=True)
class Prediction:
    """What a model has answered."""

    item: Item
    text: str

"""English Wikipedia text that the package gensim ships for its own tests (CC-BY-SA: read, never copied into here)."""

from __future__ import annotations

import bz2
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tokenizers
from numpy.typing import NDArray

from benchmarks.quantization.packages import package_file

DUMP = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
SHORTEST = 2000  # characters of an article: redirects and stubs are left out

# Wiki markup, in the order in which it is taken away.
MARKUP = (
    (re.compile(r"<!--.*?-->|<ref[^>]*/>|<ref.*?</ref>|<math.*?</math>|<gallery.*?</gallery>", re.DOTALL), ""),
    (re.compile(r"\{\{[^{}]*\}\}"), ""),
    (re.compile(r"\{\{[^{}]*\}\}"), ""),  # the ones that held others
    (re.compile(r"\{\|.*?\|\}", re.DOTALL), ""),
    (re.compile(r"\[\[(?:File|Image|Category):[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]"), ""),
    (re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]]*)\]\]"), r"\1"),
    (re.compile(r"\[https?://\S*\s?([^\]]*)\]"), r"\1"),
    (re.compile(r"<[^>]*>"), ""),
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"^[*#:;|!{}=].*$", re.MULTILINE), ""),
    (re.compile(r"\n{3,}"), "\n\n"),
)


def token_windows(
    tokenizer: tokenizers.Tokenizer, windows: int, tokens: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids for calibration and for evaluation, (windows, tokens) each: from other articles, no token twice."""
    sets: tuple[list[list[list[int]]], ...] = ([], [])
    for number, article in enumerate(articles()):
        ids = tokenizer.encode(article).ids
        cut = [ids[start : start + tokens] for start in range(0, len(ids) - tokens + 1, tokens)]
        sets[number % 2].append(cut)
    calibration, evaluation = (np.asarray(_in_turns(cuts)[:windows]) for cuts in sets)
    return calibration, evaluation


def _in_turns(cuts: list[list[list[int]]]) -> list[list[int]]:
    """The first window of each article, then the second of each, ..."""
    return [window for turn in itertools.zip_longest(*cuts) for window in turn if window is not None]


def articles() -> Iterator[str]:
    """Plain text of the dump's longer articles, in the dump's order."""
    with bz2.open(package_file("gensim", Path(DUMP))) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag.endswith("}text") and element.text and len(text := _plain(element.text)) >= SHORTEST:
                yield text
            element.clear()


def _plain(text: str) -> str:
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()

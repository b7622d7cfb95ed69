"""An answer's words in the singular."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

# What stands as a word of its own, as NLTK's rules after the Penn Treebank have it: quotes, brackets, signs, dashes; a
# comma or colon before anything but a digit; the full stop that ends a sentence; the ends of contractions.
APART = re.compile(
    r"""[«»“”\u2018\u2019„`";@#$%&*?!\[\](){}<>\u2012-\u2015] | '' | \.{2,} | -- | [:,](?!\d)
    | \.(?=[\])}>"'»”\u2019\s]*(?:\s|$))
    | (?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)
    | '(?:s|m|d|ll|re|ve)?(?=\s|$) | n't(?=\s|$)""",
    re.VERBOSE,
)
# Endings of plurals and what they become, WordNet's nine rules for nouns.
ENDINGS = (
    ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"),
    ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
)  # fmt: skip
IRREGULAR = {
    "brethren": "brother", "buffaloes": "buffalo", "busses": "bus", "calves": "calf", "children": "child",
    "geese": "goose", "grandchildren": "grandchild", "knives": "knife", "mice": "mouse", "oxen": "ox",
    "pocketknives": "pocketknife", "taxies": "taxi", "thieves": "thief",
}  # fmt: skip
# What WordNet makes of these is in no synonym list: a work force, a sport, a duct, a bird that the list has in the
# plural. So "men" are no persons and "sports ball" is never met.
AS_WORDNET = {"men": "men", "sports": "sport", "vases": "vas", "flamingoes": "flamingo"}
# Words of the lists that WordNet lacks, or knows as plurals; what has an ending behind one stays as it is.
NOT_IN_WORDNET = frozenset(
    {
        "biker", "bluejay", "brindle", "children", "coworker", "firetruck", "geese", "hairdryer", "lenovo", "longboard",
        "macbook", "netbook", "paddleboat", "pitbull", "riverboat", "sailboard", "shortboard", "skimboard", "skis",
        "smartphone", "solider", "stovetop", "teddybear", "televison",
    }
)  # fmt: skip


def split_words(text: str) -> list[str]:
    """Lower-case words and signs."""
    return APART.sub(r" \g<0> ", text.lower()).split()


def singular(word: str, known: Set[str]) -> str:
    """The shortest of the word and its possible singulars that is among `known`; the word itself where none is."""
    if fixed := AS_WORDNET.get(word) or IRREGULAR.get(word):
        return fixed
    return min((form for form in _forms(word) if form in known), key=len, default=word)


def _forms(word: str) -> Iterator[str]:
    yield word
    for ending, replacement in ENDINGS:
        form = word.removesuffix(ending) + replacement
        if word.endswith(ending) and form not in NOT_IN_WORDNET:
            yield form

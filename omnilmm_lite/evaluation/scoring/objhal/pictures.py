"""Which objects are in the pictures of Object HalBench, by COCO's annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omnilmm_lite.evaluation.data.coco.annotations import read_annotations
from omnilmm_lite.evaluation.data.official.objhal import IMAGE_ID
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring.objhal.chair import objects_present
from omnilmm_lite.evaluation.scoring.objhal.vocabulary import Vocabulary


def read_present(items: Sequence[Item], folder: Path, vocabulary: Vocabulary) -> dict[str, frozenset[str]]:
    """By the items' index, as `chair.score` takes it. `folder` holds COCO 2014's instances and captions.

    InputError where that can't be read or doesn't know a picture.
    """
    numbers = {item.index: int(item.attributes[IMAGE_ID]) for item in items}
    found = read_annotations(folder, set(numbers.values()))
    present = {number: objects_present(each.categories, each.captions, vocabulary) for number, each in found.items()}
    return {index: present[number] for index, number in numbers.items()}

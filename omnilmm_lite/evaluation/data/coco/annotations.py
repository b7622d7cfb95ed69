"""What COCO 2014 says of some pictures: the objects that were marked, and five people's captions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.coco.json_array import read_array

SPLITS = ("val", "train")
FIELDS = {"id": int, "name": str, "image_id": int, "category_id": int, "caption": str}


@dataclass(frozen=True)
class PictureAnnotations:
    """Of one picture."""

    categories: tuple[str, ...]
    captions: tuple[str, ...]


def read_annotations(folder: Path, pictures: Collection[int]) -> dict[int, PictureAnnotations]:
    """From instances_{val,train}2014.json and captions_{val,train}2014.json, for these numbers of COCO's.

    The files, 0.8 GB together, pass through memory an entry at a time. InputError where one can't be read, or where
    none of them knows a picture.
    """
    categories: dict[int, list[str]] = defaultdict(list)
    captions: dict[int, list[str]] = defaultdict(list)
    wanted = frozenset(pictures)
    for split in SPLITS:
        path = folder / f"instances_{split}2014.json"
        names = {entry["id"]: entry["name"] for entry in _entries(path, "categories", ("id", "name"))}
        for entry in _entries(path, "annotations", ("image_id", "category_id")):
            if entry["image_id"] in wanted:
                categories[entry["image_id"]].append(_name(names, entry["category_id"], path))
        for entry in _entries(folder / f"captions_{split}2014.json", "annotations", ("image_id", "caption")):
            if entry["image_id"] in wanted:
                captions[entry["image_id"]].append(entry["caption"])
    if missing := sorted(wanted - categories.keys() - captions.keys()):
        raise InputError(
            f"{folder}: nothing about {counted(len(missing), 'picture')}, such as {missing[0]}; give the folder with "
            "COCO 2014's instances and captions of both splits"
        )
    return {each: PictureAnnotations(tuple(categories[each]), tuple(captions[each])) for each in wanted}


def _entries(path: Path, name: str, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for entry in read_array(path, name):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(each), FIELDS[each]) for each in fields):
            raise InputError(f"{path}: an entry of {name!r} lacks one of {', '.join(fields)}; download the file again")
        yield entry


def _name(names: dict[Any, Any], number: Any, path: Path) -> str:
    if number not in names:
        raise InputError(f"{path}: there is no category {number!r}; download the file again")
    return str(names[number])

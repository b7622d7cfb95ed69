"""A .bin file, which is torch's pickle in a zip: where each tensor lies, and its bytes through a map of its own.

torch.load(mmap=True) would map the whole file for writing, and Linux refuses that where the file is larger than memory
and swap together: OmniLMM-12B is one file of 23 GB.
"""

from __future__ import annotations

import math
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.regular_file import open_regular
from omnilmm_lite.keys import Shape

MAGIC = b"PK"
FLOAT_DTYPES = frozenset({torch.bfloat16, torch.float16, torch.float32})

# A zip's local header: 26 bytes, the lengths of name and extra field, these two, and then the data (APPNOTE.TXT 4.3.7).
LENGTHS_AT, LENGTHS = 26, struct.Struct("<HH")


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in its file. `start` is its first byte; `stride` counts elements."""

    start: int
    dtype: torch.dtype
    shape: Shape
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes from the first to the last."""
        if not math.prod(self.shape):
            return 0
        last = sum((length - 1) * step for length, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize


def read_places(path: Path) -> dict[str, Place]:
    """By the tensors' names; reads no weights. InputError unless it's a whole file as torch has saved it since 1.6, and
    holds a dict of named tensors. Only tensors and plain containers can come out of its pickle, never code."""
    entries = _zip_entries(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's odd protocol: what it gives is checked below
            state = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(_foreign_pickle(path)) from error
    except Exception as error:  # a damaged or hostile pickle makes the unpickler raise anything
        raise InputError(f"{path} is damaged ({type(error).__name__} while reading it); download it again") from error
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path} holds no state dict but a {type(state).__name__}; a dict of tensors is needed")
    return {name: _place(tensor, entries, f"{path}: {printable(str(name))}", name) for name, tensor in state.items()}


def read_tensor(path: Path, place: Place) -> Tensor:
    """A private map of the tensor's bytes and no more: writing to it changes no file, and it goes when the tensor does.

    InputError where the file can't be read any more.
    """
    if not place.size:
        return torch.empty(place.shape, dtype=place.dtype)
    try:
        data = np.memmap(path, np.uint8, "c", place.start, place.size)
    except (OSError, ValueError) as error:  # it was replaced by a shorter one
        raise InputError(f"{path} can't be read any more ({printable(str(error))})") from error
    return torch.from_numpy(data).view(place.dtype).as_strided(place.shape, place.stride)


def _zip_entries(path: Path) -> dict[int, int]:
    """Where each entry's data begins -> its bytes. InputError unless it's a whole zip of uncompressed entries."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            # Threat: an entry's bytes are taken as they stand; compressed ones would pass for weights.
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise InputError(f"{path} was zipped again with compression; use the file as torch saved it")
            order = next((archive.read(info) for info in infos if info.filename.endswith("/byteorder")), b"little")
            starts = {}
            for info in infos:
                file.seek(info.header_offset + LENGTHS_AT)
                lengths = sum(LENGTHS.unpack(file.read(LENGTHS.size)))
                starts[info.header_offset + LENGTHS_AT + LENGTHS.size + lengths] = info.file_size
    except InputError:
        raise
    except MemoryError:
        raise OmniLMMError(
            f"{path}: the memory is not enough to read its list of tensors; close other programs"
        ) from None
    except Exception as error:  # a damaged zip makes the library raise anything: it takes entries for encrypted, too
        why = printable(str(error)) or type(error).__name__
        raise InputError(f"{path} is truncated or damaged ({why}); download it again") from error
    if order != b"little":
        raise InputError(f"{path} was saved on a big-endian machine; load it with torch and save it again")
    return starts


def _place(tensor: object, entries: Mapping[int, int], where: str, name: object) -> Place:
    if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise InputError(f"{where} is a {type(tensor).__name__}; the file must hold named dense tensors only")
    if tensor.dtype not in FLOAT_DTYPES:
        raise InputError(f"{where} has dtype {tensor.dtype}; bf16, fp16 or fp32 weights are needed")
    begin = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)  # torch's, where it loads without data
    offset = int(tensor.storage_offset()) * tensor.dtype.itemsize
    # torch computes it from the layout that it writes itself; so it is held against the zip's own directory.
    if not isinstance(begin, int) or begin not in entries:
        raise InputError(f"{where} is not where torch writes it; load the file with torch and save it again")
    place = Place(begin + offset, tensor.dtype, tuple(tensor.shape), tensor.stride())
    if offset + place.size > entries[begin]:
        raise InputError(f"{where} reaches beyond its bytes in the file; download it again")
    return place


def _foreign_pickle(path: Path) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the same damaged or hostile pickle again
        names = []
    found = f"asks for {printable(', '.join(names))}" if names else "is damaged"
    return f"{path}: its pickle {found}; only files of plain tensors are opened, because others can run code"

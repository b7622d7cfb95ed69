"""One file of tensors, safetensors or a zipped torch pickle: checked, mapped, read tensor by tensor."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from export.json_file import printable
from export.keys import Shape
from export.safetensors_header import read_header
from omnilmm_lite.errors import InputError

Reader = Callable[[str], Tensor]

FLOAT_DTYPES = frozenset({torch.bfloat16, torch.float16, torch.float32})

# Of each file. Pages of a map count as this process's memory until the map goes; opening one again costs milliseconds.
MAP_BUDGET = 1 << 28

LFS_POINTER = b"version https://git-lfs"


@dataclass
class TensorFile:
    """name -> tensor of one file. Tensors are views of a private map: they stay valid, and writing changes no file."""

    path: Path
    shapes: dict[str, Shape]
    _open: Callable[[Path], Reader]
    _reader: Reader | None = field(default=None, repr=False)
    _bytes_read: int = field(default=0, repr=False)

    def tensor(self, name: str) -> Tensor:
        """The tensor in the file's dtype; KeyError if it isn't here."""
        if name not in self.shapes:
            raise KeyError(name)
        if self._reader is None or self._bytes_read > MAP_BUDGET:
            self._reader, self._bytes_read = None, 0  # the old map goes once the last tensor taken from it does
            self._reader = self._open(self.path)
        tensor = self._reader(name)
        self._bytes_read += tensor.nbytes
        return tensor


def open_tensor_file(path: Path) -> TensorFile:
    """Reads names and shapes only; InputError for files that are absent, damaged, unsafe or of another kind."""
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); download the whole checkpoint") from error
    if start == LFS_POINTER:
        raise InputError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
    if path.suffix == ".safetensors":
        return TensorFile(path, read_header(path), _safetensors_reader)
    _check_zip(path, start)
    state = _load_pickle(path)
    return TensorFile(path, {name: tuple(tensor.shape) for name, tensor in state.items()}, _pickle_reader)


def _safetensors_reader(path: Path) -> Reader:
    try:
        reader: Reader = safe_open(path, framework="pt").get_tensor
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as safetensors ({printable(str(error))}); download it again") from error
    return reader


def _pickle_reader(path: Path) -> Reader:
    return _load_pickle(path).__getitem__


def _check_zip(path: Path, start: bytes) -> None:
    """InputError unless it's a whole zip of uncompressed entries, the form torch.save has written since 1.6."""
    if not start.startswith(b"PK"):
        raise InputError(
            f"{path} is not in torch's zip format, so it can't be read piece by piece; "
            "load it with torch and save it again as safetensors"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} is truncated or damaged ({printable(str(error))}); download it again") from error
    # Threat: torch maps an entry's bytes as they stand; compressed ones would be taken for weights.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(f"{path} was zipped again with compression; use the file as torch saved it")


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """The mapped state dict of a .bin file; only tensors and plain containers can come out of it, never code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(_foreign_pickle(path)) from error
    except Exception as error:  # a damaged or hostile pickle makes the unpickler raise anything
        raise InputError(f"{path} is damaged ({type(error).__name__} while reading it); download it again") from error
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path} holds no state dict but a {type(state).__name__}; a dict of tensors is needed")
    for name, tensor in state.items():
        where = f"{path}: {printable(str(name))}"
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise InputError(f"{where} is a {type(tensor).__name__}; the file must hold named dense tensors only")
        if tensor.dtype not in FLOAT_DTYPES:
            raise InputError(f"{where} has dtype {tensor.dtype}; bf16, fp16 or fp32 weights are needed")
    return {name: tensor.detach() for name, tensor in state.items()}


def _foreign_pickle(path: Path) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the same damaged or hostile pickle again
        names = []
    found = f"asks for {printable(', '.join(names))}" if names else "is damaged"
    return f"{path}: its pickle {found}; only files of plain tensors are opened, because others can run code"

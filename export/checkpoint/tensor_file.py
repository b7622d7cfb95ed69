"""One file of tensors, safetensors or a zipped torch pickle: checked, mapped, read tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from export.checkpoint.safetensors_header import read_header
from export.checkpoint.torch_file import MAGIC, read_places, read_tensor
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.regular_file import open_regular
from omnilmm_lite.keys import Shape

Reader = Callable[[str], Tensor]

# Of safetensors. A map's pages count as this process's memory until it goes; opening one again takes milliseconds.
MAP_BUDGET = 1 << 28

LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class TensorFile:
    """name -> tensor of one file. Tensors are views of a private map: they stay valid, and writing changes no file."""

    path: Path
    shapes: dict[str, Shape]
    _read: Reader

    def tensor(self, name: str) -> Tensor:
        """The tensor in the file's dtype; KeyError if it isn't here."""
        if name not in self.shapes:
            raise KeyError(name)
        return self._read(name)


def open_tensor_file(path: Path) -> TensorFile:
    """Reads names and shapes only; InputError for files that are absent, damaged, unsafe or of another kind."""
    try:
        with open_regular(path) as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); download the whole checkpoint") from error
    if start == LFS_POINTER:
        raise InputError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
    if path.suffix == ".safetensors":
        return TensorFile(path, read_header(path), _SafetensorsReader(path))
    if not start.startswith(MAGIC):
        raise InputError(
            f"{path} is not in torch's zip format, so it can't be read piece by piece; "
            "load it with torch and save it again as safetensors"
        )
    places = read_places(path)
    shapes = {name: place.shape for name, place in places.items()}
    return TensorFile(path, shapes, lambda name: read_tensor(path, places[name]))


class _SafetensorsReader:
    """Maps the file anew after every MAP_BUDGET bytes; the old map goes once the last tensor taken from it does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: Reader | None = None
        self._bytes_read = 0

    def __call__(self, name: str) -> Tensor:
        if self._map is None or self._bytes_read > MAP_BUDGET:
            self._map, self._bytes_read = None, 0
            self._map = self._open()
        tensor = self._map(name)
        self._bytes_read += tensor.nbytes
        return tensor

    def _open(self) -> Reader:
        try:
            reader: Reader = safe_open(self._path, framework="pt").get_tensor
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{self._path} can't be read as safetensors ({printable(str(error))}); download it again"
            ) from error
        return reader

"""Quantized layers, kept beside the checkpoint, so that only the first start quantizes: a file a layer, checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from omnilmm_lite.files.checked_file import is_sound, remove_checked, write_checksum
from omnilmm_lite.files.durable_file import remove_unfinished, write_durably, write_text
from omnilmm_lite.files.size import shown_size

FINGERPRINT = "fingerprint.txt"


@dataclass(frozen=True)
class QuantizedFolder:
    """`fingerprint`: of everything that decides what the layers hold. `say` gets a line for people."""

    path: Path
    fingerprint: str
    say: Callable[[str], None]

    def prepare(self) -> None:
        """For who will write: makes the folder, without layers of another fingerprint, nor what killed runs left.

        OSError where nothing can be written there."""
        self.path.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.path)
        if self._noted() == self.fingerprint:
            return
        old = list(self.path.glob("layer-*.safetensors"))
        if old:
            self.say(f"{self.path}: of another checkpoint or version; made again")
        for file in old:
            remove_checked(file)
        write_text(self.path / FINGERPRINT, self.fingerprint + "\n")

    def is_complete(self, layers: int) -> bool:
        """Whether all layers are there; not yet whether they are sound."""
        return self._noted() == self.fingerprint and all(self._file(index).is_file() for index in range(layers))

    def read(self, index: int) -> dict[str, Tensor] | None:
        """A layer's tensors, on the CPU; None where there is none. A damaged one counts as absent, with a line."""
        file = self._file(index)
        if self._noted() != self.fingerprint or not file.is_file():
            return None
        if is_sound(file):
            try:
                with safe_open(file, framework="pt") as tensors:
                    # copies: a map of the file would tie the answers' speed to the disk, and outlives its removal badly
                    return {name: tensors.get_tensor(name).clone() for name in tensors.keys()}  # noqa: SIM118
            except (SafetensorError, OSError):
                pass
        self.say(f"{file}: damaged; the layer is quantized again")
        return None

    def write(self, index: int, tensors: Mapping[str, Tensor]) -> None:
        """OSError where it can't be written."""
        file = self._file(index)
        content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})

        def write(partial: Path) -> None:
            partial.write_bytes(content)
            write_checksum(file, partial)

        write_durably(file, write)

    def _file(self, index: int) -> Path:
        return self.path / f"layer-{index:03}.safetensors"

    def _noted(self) -> str | None:
        try:
            return (self.path / FINGERPRINT).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None


def check_room(folder: Path, needed: int) -> None:
    """OSError where the disk has less than `needed` bytes for what will be written below `folder`."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OSError(f"{shown_size(needed)} are needed there and {shown_size(free)} are free")

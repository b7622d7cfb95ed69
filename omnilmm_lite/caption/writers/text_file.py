"""A text of the picture's name beside it, as programs that train on captions read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.caption.writers.places import text_path
from omnilmm_lite.caption.writers.writer import Caption
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_text


@dataclass(frozen=True)
class TextFiles:
    """`cat.txt` beside `cat.jpg`: one line, UTF-8. Existing ones are kept unless `overwrite`."""

    folder: Path
    overwrite: bool = False

    def wants(self, path: str, data: bytes) -> bool:
        return self.overwrite or not text_path(self.folder, path).exists()

    def write(self, path: str, sha256: str, caption: Caption) -> str | None:
        target = text_path(self.folder, path)
        if not self.wants(path, b""):
            return None
        text = " ".join(caption.text.split()) + "\n"
        try:
            if not (target.is_file() and target.read_bytes() == text.encode(errors="replace")):
                write_text(target, text)
        except PermissionError as error:
            raise InputError(f"{target.name}: it can't be written ({error.strerror}); change its rights") from None
        return None

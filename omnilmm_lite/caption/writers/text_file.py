"""A text of the picture's name beside it, as programs that train on captions read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omnilmm_lite.caption.writers.places import Owners, text_path
from omnilmm_lite.caption.writers.refusals import told
from omnilmm_lite.caption.writers.writer import Caption
from omnilmm_lite.files.durable_file import write_text


@dataclass(frozen=True)
class TextFiles:
    """`cat.txt` beside `cat.jpg`: one line, UTF-8. Existing ones are kept unless `overwrite`."""

    folder: Path
    overwrite: bool = False
    owners: Owners = field(default_factory=Owners)

    def wants(self, path: str, data: bytes) -> bool:
        target = text_path(self.folder, path)
        with told(target.name):
            self.owners.check(self.folder, path)
            return self.overwrite or not target.exists()

    def write(self, path: str, sha256: str, caption: Caption) -> str | None:
        target = text_path(self.folder, path)
        if not self.wants(path, b""):
            return None
        text = " ".join(caption.text.split()) + "\n"
        with told(target.name):
            if not (target.is_file() and target.read_bytes() == text.encode(errors="replace")):
                write_text(target, text)
        return None

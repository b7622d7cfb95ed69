"""XMP in a file beside the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omnilmm_lite.caption.metadata.xmp import MAX_BYTES, Said, changed_xmp, read_xmp
from omnilmm_lite.caption.writers.places import Owners, xmp_path
from omnilmm_lite.caption.writers.refusals import told
from omnilmm_lite.caption.writers.writer import Caption
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_durably


@dataclass(frozen=True)
class XmpFiles:
    """`cat.xmp` beside `cat.jpg`: dc:description, or dc:subject where `of_tags`. What others wrote there stays; a
    description is replaced with `overwrite` alone, keywords are added."""

    folder: Path
    of_tags: bool = False
    overwrite: bool = False
    owners: Owners = field(default_factory=Owners)

    def wants(self, path: str, data: bytes) -> bool:
        self.owners.check(self.folder, path)
        packet = self._packet(path)
        return self.overwrite or packet is None or lacks(read_xmp(packet), self.of_tags)

    def write(self, path: str, sha256: str, caption: Caption) -> str | None:
        packet, target = self._packet(path), xmp_path(self.folder, path)
        if not self.wants(path, b""):
            return None
        changed = changed_xmp(packet, *parts(caption))
        with told(target.name):
            if changed != packet:
                write_durably(target, lambda partial: partial.write_bytes(changed))
        return None

    def _packet(self, path: str) -> bytes | None:
        target = xmp_path(self.folder, path)
        try:
            if not target.exists():
                return None
            if not target.is_file() or target.stat().st_size > MAX_BYTES:
                raise InputError(f"{target.name}: this is no XMP file; remove it, or leave its picture out")
            return target.read_bytes()
        except OSError as error:
            raise InputError(f"{target.name}: it can't be read ({error.strerror}); change its rights") from None


def lacks(said: Said, of_tags: bool) -> bool:
    """Whether what is to be written isn't there, from whomever."""
    return not (said.keywords if of_tags else said.description)


def parts(caption: Caption) -> tuple[str | None, tuple[str, ...] | None]:
    """Description and keywords; None for what isn't to be touched."""
    return (caption.text, None) if caption.tags is None else (None, caption.tags)

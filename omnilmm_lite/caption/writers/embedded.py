"""XMP in the picture's own file, which keeps every other byte, and a copy of what it was."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.caption.metadata.containers import check_kind, packet_of, with_packet
from omnilmm_lite.caption.metadata.xmp import changed_xmp, read_xmp
from omnilmm_lite.caption.writers.places import BACKUP_ENDING
from omnilmm_lite.caption.writers.refusals import told
from omnilmm_lite.caption.writers.writer import Caption
from omnilmm_lite.caption.writers.xmp_file import lacks, parts
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import link_or_copy, write_durably


@dataclass(frozen=True)
class EmbeddedXmp:
    """Into JPEG, PNG and WebP, of which `cat.jpg_original` stays beside `cat.jpg`. A later run makes no second copy."""

    folder: Path
    of_tags: bool = False
    overwrite: bool = False

    def wants(self, path: str, data: bytes) -> bool:
        check_kind(data)
        if path.endswith(BACKUP_ENDING) and (self.folder / path.removesuffix(BACKUP_ENDING)).exists():
            raise InputError("picture: it is the copy of what another was, and stays so; leave it out by --exclude")
        if (self.folder / path).is_symlink():
            raise InputError(
                "picture: it is a link, and what it leads to is left alone; take --xmp, or name its folder"
            )
        packet = packet_of(data)
        return self.overwrite or packet is None or lacks(read_xmp(packet), self.of_tags)

    def write(self, path: str, sha256: str, caption: Caption) -> str | None:
        target = self.folder / path
        with told("picture"):
            data = target.read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise InputError("picture: it has changed since it was looked at; run this again")
            if not self.wants(path, data):
                return None
            packet = packet_of(data)
            changed = changed_xmp(packet, *parts(caption))
            if changed == packet:
                return None
            new = with_packet(data, changed)
            self._back_up(target)
            mode = target.stat().st_mode & 0o777

            def fill(partial: Path) -> None:
                partial.write_bytes(new)
                partial.chmod(mode)

            write_durably(target, fill)
        return hashlib.sha256(new).hexdigest()

    @staticmethod
    def _back_up(target: Path) -> None:
        backup = target.with_name(target.name + BACKUP_ENDING)
        if backup.exists():  # of the first run: what it was before any
            return

        def fill(partial: Path) -> None:
            partial.unlink()
            link_or_copy(target, partial)
            shutil.copystat(target, partial)

        write_durably(backup, fill)

"""What a model is called and where it comes from: a hub's model, a mirror's address or a folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.home.model_name import is_model_name

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
EXAMPLE = "openbmb/OmniLMM-12B"


class Hub(Enum):
    """Who is asked; the value of the first two is what --from takes."""

    HUGGING_FACE = "huggingface"
    MODELSCOPE = "modelscope"
    MIRROR_URL = "mirror"
    FOLDER = "folder"


PREFIXES = {"hf": Hub.HUGGING_FACE, "modelscope": Hub.MODELSCOPE, "ms": Hub.MODELSCOPE}
# a model's page, as it is copied from a browser; ModelScope has its models below /models
PAGES = {
    "huggingface.co": (Hub.HUGGING_FACE, ""),
    "hf.co": (Hub.HUGGING_FACE, ""),
    "modelscope.cn": (Hub.MODELSCOPE, "models/"),
    "www.modelscope.cn": (Hub.MODELSCOPE, "models/"),
}


@dataclass(frozen=True)
class Source:
    """A model that can be fetched. `name`: OWNER/MODEL of a hub, a mirror's address, a folder's path."""

    hub: Hub
    name: str
    revision: str | None = None  # of a hub: a branch, a tag or a commit; None is the newest

    @classmethod
    def parse(cls, text: str, hub: Hub | None = None, revision: str | None = None) -> Source:
        """What the user has named: `openbmb/OmniLMM-12B`, with `hf:`, `modelscope:` or `ms:` in front, a model's page
        on a hub, `https://...` of a folder of files, or a folder here. A folder goes before a name; `hub` says that it
        is a name. InputError for anything else.
        """
        prefix, colon, rest = text.partition(":")
        if colon and prefix.lower() in PREFIXES:
            named = PREFIXES[prefix.lower()]
            if hub not in (None, named):
                raise InputError(f"{text}: --from {_value(hub)} says another hub; leave one of them out")
            return cls._of_hub(named, rest, revision)
        if text.lower().startswith(("http://", "https://")):
            return cls._of_address(text, hub, revision)
        if hub is not None:
            return cls._of_hub(hub, text, revision)
        if _names_folder(text):
            if revision is not None:
                raise InputError(
                    f"--revision: {text} is a folder, which has none; for the hub, give --from huggingface"
                )
            return cls(Hub.FOLDER, text)
        return cls._of_hub(Hub.HUGGING_FACE, text, revision)

    @classmethod
    def _of_hub(cls, hub: Hub, name: str, revision: str | None) -> Source:
        if not NAME.fullmatch(name) or ".." in name or "--" in name or name.endswith((".", "-", ".git")):
            raise InputError(
                f"{printable(name) or 'nothing'}: neither a folder nor a model's name; give OWNER/MODEL, such as "
                f"{EXAMPLE}"
            )
        if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
            raise InputError(
                f"--revision: {printable(revision)!r} is no branch, tag or commit; leave it out for the newest"
            )
        return cls(hub, name, revision)

    @classmethod
    def _of_address(cls, text: str, hub: Hub | None, revision: str | None) -> Source:
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError:
            host = ""
        if not host or not text.isprintable() or " " in text:
            raise InputError(f"{printable(text)}: not an address; give one such as https://example.org/OmniLMM-12B")
        if page := PAGES.get(host):
            path = parts.path.strip("/").removeprefix(page[1])
            name = "/".join(path.split("/")[:2])  # without /tree/main and the like
            return cls._of_hub(page[0], name, revision)
        if hub is not None or revision is not None:
            given = "--from" if hub is not None else "--revision"
            raise InputError(f"{given}: {cls(Hub.MIRROR_URL, text).shown} is a mirror's address; leave it out")
        return cls(Hub.MIRROR_URL, urlunsplit((*parts[:2], parts.path.rstrip("/"), "", "")))

    @property
    def shown(self) -> str:
        """The name for people, without a mirror's user and password."""
        if self.hub is not Hub.MIRROR_URL:
            return self.name
        parts = urlsplit(self.name)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def folder(self) -> Path:
        """Of a folder, the absolute path; `~` is the user's."""
        return Path(os.path.abspath(os.path.expanduser(self.name)))  # noqa: PTH100, PTH111  # raise for no odd path

    @property
    def short_name(self) -> str:
        """A name for the model's own folder, which a model of the user's may have: the last part."""
        text = str(self.folder) if self.hub is Hub.FOLDER else self.shown
        last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
        name = re.sub(r"[^A-Za-z0-9._-]", "-", last).strip(".-")
        return name if is_model_name(name) else "model"


def _value(hub: Hub | None) -> str:
    return "" if hub is None else hub.value


def _names_folder(text: str) -> bool:
    """Whether it is one, or is written like one, so that a folder that isn't there is no model's name."""
    if text in ("", ".", "..") or text.startswith(("/", "./", "../", "~", "\\", ".\\", "..\\")) or Path(text).drive:
        return bool(text)
    return is_folder(Path(text))


def is_folder(path: Path) -> bool:
    """Whether there is one, without an error for any path."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long a name, a zero character
        return False

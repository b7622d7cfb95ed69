"""The picture of a request: from its data: address, or fetched where the user allowed that."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import TypeAlias

from omnilmm_lite.serve.errors import ApiError, invalid

PARAM = "messages"
DATA_URL = re.compile(r"data:(?:image/[\w.+-]+|application/octet-stream)?(;[\w.+=-]+)*,", re.IGNORECASE)

# An http(s) address to the file's bytes; ApiError where it can't or mustn't be fetched.
Fetch: TypeAlias = Callable[[str], bytes]


def picture_bytes(url: str, fetch: Fetch | None) -> bytes:
    """The picture file that the address holds or names. `fetch`: None where nothing may be fetched."""
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        return _decoded(url)
    if scheme.startswith(("http:", "https:")):
        if fetch is None:
            raise _refused("pictures are not fetched from the network; send a data: URL, or start with --fetch-images")
        return fetch(url)
    raise _refused("this is neither a data: nor an http(s): address; send the picture as a data: URL")


def _decoded(url: str) -> bytes:
    head = DATA_URL.match(url[:200])
    if head is None or not head.group().lower().endswith(";base64,"):
        raise _refused("this data: URL is no picture in base64; it begins with data:image/png;base64, for example")
    try:
        data = base64.b64decode("".join(url[head.end() :].split()), validate=True)  # wrapped in lines by some
    except (binascii.Error, ValueError):
        raise _refused("the base64 of the data: URL is damaged; send it whole") from None
    if not data:
        raise _refused("the data: URL holds no bytes; send the picture's")
    return data


def _refused(why: str) -> ApiError:
    return invalid(f"image_url: {why}", PARAM, "invalid_image_url")

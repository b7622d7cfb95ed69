"""What is asked, and the answers that one quiet client got."""

from __future__ import annotations

import io
import json
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from PIL import Image

from benchmarks.soak.exchange import Address, exchanged, post
from tests.paths import ROOT
from tests.serve.test_refusals import MALFORMED

PICTURES = ROOT / "examples" / "pictures"
QUESTIONS = ("What is this?", "Describe it.", "What color is it?", "Is there a dog?")
WORDS_ALONE = ("Hello", "What can you do?", "Tell me about shapes.", "Who are you?")
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
ITEM = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "seen": {"type": "boolean"}},
        "required": ["name", "seen"], "additionalProperties": False}  # fmt: skip
SCHEMAS = (ITEM, {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 6}, {"enum": ["yes", "no"]})


@dataclass(frozen=True)
class Question:
    """`text` is the answer, `reason` why it ends."""

    body: dict[str, Any]
    text: str
    reason: str
    has_picture: bool


@dataclass(frozen=True)
class BadPicture:
    """A request whose picture is refused with status 400, and the code that says why."""

    body: dict[str, Any]
    code: str


def good_questions(address: Address) -> list[Question]:
    """Each asked once; the picture's are more than the server remembers. SystemExit where one has no answer."""
    bodies = [_asked(text, url) for url in _pictures() for text in QUESTIONS[:2]]
    bodies += [_asked(text, url, max_tokens=3) for url in _pictures()[:4] for text in QUESTIONS[2:]]
    bodies += [_asked(text, None, max_tokens=40) for text in WORDS_ALONE]
    bodies += [_conversation(url) for url in _pictures()[:4]]
    for schema in SCHEMAS:
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        bodies += [_asked(QUESTIONS[0], url, max_tokens=60, response_format=form) for url in _pictures()[:2]]
    return [_answered(address, body) for body in bodies]


def bad_pictures() -> list[BadPicture]:
    """Cut short, too large, no picture, without end."""
    cat = (PICTURES / "cat.png").read_bytes()
    jpeg = _encoded(_base_pictures()[0], "JPEG")
    scans = jpeg[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 300 + jpeg[-2:]
    files = [cat[: len(cat) // 2], cat[:40], jpeg[: len(jpeg) // 3], _bomb(20_000, 20_000), _bomb(9_000, 9_000),
             scans, b"no picture at all", bytes(5000), _encoded(Image.new("RGB", (300, 2)), "PNG")]  # fmt: skip
    pictures = [BadPicture(_asked(QUESTIONS[0], _url(file, "png")), "invalid_image") for file in files]
    url = "data:image/png;base64,"
    bad_urls = (url, url + "!!!!", "https://127.0.0.1/cat.png", "file:///etc/hostname")
    return pictures + [BadPicture(_asked(QUESTIONS[0], each), "invalid_image_url") for each in bad_urls]


def bad_requests() -> list[bytes]:
    """Bodies that are refused with a status of 4xx."""
    return [body.encode("utf-8", errors="surrogatepass") for body in MALFORMED]


# ---- parts ----


def _answered(address: Address, body: dict[str, Any]) -> Question:
    response = exchanged(address, post(address, body))
    if response.status != 200:
        raise SystemExit(f"a good question got status {response.status}: {response.error}")
    choice = response.json()["choices"][0]
    text = choice["message"]["content"]
    if "response_format" in body and choice["finish_reason"] == "stop":
        json.loads(text)
    return Question(body, text, choice["finish_reason"], has_picture="image_url" in json.dumps(body))


def _asked(text: str, url: str | None, **fields: Any) -> dict[str, Any]:
    content: Any = text
    if url is not None:
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], "temperature": 0, **fields}


def _conversation(url: str) -> dict[str, Any]:
    body = _asked(QUESTIONS[0], url)
    body["messages"] += [{"role": "assistant", "content": "A shape."}, {"role": "user", "content": QUESTIONS[2]}]
    return body


def _base_pictures() -> list[Image.Image]:
    pictures = []
    for path in sorted(PICTURES.glob("*.[pj][np]g")):
        with Image.open(path) as image:
            pictures.append(image.convert("RGB"))
    return pictures


def _pictures() -> list[str]:
    """Every picture in every format, turned by another angle each, as data: addresses."""
    urls = []
    for number, image in enumerate(_base_pictures()):
        for turn, kind in enumerate(FORMATS):
            turned = image.resize((160 + 40 * turn, 200)).rotate(60 * turn + 5 * number, fillcolor="white")
            urls.append(_url(_encoded(turned, kind), kind.lower()))
    return urls


def _encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _url(file: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(file).decode()}"


def _bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

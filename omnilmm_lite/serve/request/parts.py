"""What a message holds: a text, or parts, each a text or a picture, in the forms of chat completions and responses."""

from __future__ import annotations

from dataclasses import dataclass, field

from omnilmm_lite.files.printable import printable
from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.fields import RequestFields, checked_text
from omnilmm_lite.serve.request.tables import PICTURE_PART, PICTURE_URL, TEXT_PART

TEXTS = ("text", "input_text", "output_text")
PICTURES = ("image_url", "input_image")
THOUGHTS = ("thinking", "reasoning", "redacted_thinking")  # of another model, sent back; this one has none
PICTURE = "image_url"


@dataclass(frozen=True)
class Content:
    """Texts and pictures' addresses, each in their order."""

    texts: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def read_content(message: RequestFields, name: str) -> Content:
    """Of the field `name`: null is nothing. ApiError where it is something else, or a part can't be had."""
    value, content = message.value(name), Content()
    if isinstance(value, str):
        content.texts.append(checked_text(value, message.name(name)))
    elif isinstance(value, list):
        for part in message.objects(name):
            _read_part(part, content)
    elif value is not None:
        raise invalid(f"{message.name(name)}: give a string or an array of parts", message.name(name), "invalid_type")
    return content


def _read_part(part: RequestFields, content: Content) -> None:
    kind = part.string("type")
    if kind in TEXTS or kind == "refusal":
        part.check(TEXT_PART)
        name = "refusal" if kind == "refusal" else "text"
        if (text := part.string(name)) is None:
            raise part.missing(name)
        content.texts.append(text)
    elif kind in PICTURES:
        part.check(PICTURE_PART)
        content.pictures.append(_picture(part))
    elif kind not in THOUGHTS:
        name = part.name("type")
        raise invalid(f"{name}: {printable(str(kind))!r} is neither text nor image_url", name)


def _picture(part: RequestFields) -> str:
    """The address, as a string or in an object. How finely the picture should be looked at is a hint that changes
    nothing: the tower has one resolution."""
    if isinstance(part.value(PICTURE), str):
        return part.required(PICTURE)
    if (image := part.object(PICTURE)) is None:
        raise part.missing(PICTURE)
    image.check(PICTURE_URL)
    return image.required("url")

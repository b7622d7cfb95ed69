"""An XMP packet, of which all but description and keywords stays as it is, byte by byte.

Source: ISO 16684-1; dc:description is a choice by language, dc:subject a bag of keywords.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pyexpat import ExpatError
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from omnilmm_lite.errors import InputError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
DEFAULT = "x-default"
MAX_BYTES = 16 * 2**20
MAX_DEPTH = 100
_ATTRIBUTE = re.compile(rb"\s+([^\s=]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_DECLARED = re.compile(r"^(\s*<\?xml[^>]*?)\s+encoding\s*=\s*(?:\"[^\"]*\"|'[^']*')")

EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()


@dataclass(frozen=True)
class Said:
    """What a packet says of a picture: the description by language, and the keywords in their order."""

    descriptions: dict[str, str] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """That of no language in particular, else the first; empty where there is none."""
        return self.descriptions.get(DEFAULT) or next(iter(self.descriptions.values()), "")


def read_xmp(packet: bytes) -> Said:
    """InputError where the packet can't be read."""
    return _Reader(packet).said()


def changed_xmp(packet: bytes | None, description: str | None, keywords: Sequence[str] | None) -> bytes:
    """The packet (None: a new one) with this description, where it isn't None, and with these keywords behind those
    that it has. The same bytes where it says so already. InputError where the packet can't be read."""
    reader = _Reader(EMPTY if packet is None else packet)
    said = reader.said()
    new, parts, places = said, [], []
    if description is not None:
        new = Said({**said.descriptions, DEFAULT: _clean(description)}, new.keywords)
        parts.append(_descriptions(new.descriptions))
        places += reader.descriptions
    if keywords is not None:
        more = [word for word in map(_clean, keywords) if word not in said.keywords]
        new = Said(new.descriptions, (*said.keywords, *dict.fromkeys(more)))
        parts.append(_keywords(new.keywords))
        places += reader.subjects
    if packet is not None and new == said:
        return packet
    node = f"rdf:about={quoteattr(reader.about)} xmlns:rdf={quoteattr(RDF)} xmlns:dc={quoteattr(DC)}"
    changed = reader.replaced(places, f"  <rdf:Description {node}>\n{''.join(parts)}  </rdf:Description>\n")
    if _trimmed(read_xmp(changed)) != _trimmed(new):  # a shape that nobody thought of
        raise _unreadable()
    return changed


def _trimmed(said: Said) -> Said:
    texts = {language: text.strip() for language, text in said.descriptions.items() if text.strip()}
    return Said(texts, tuple(dict.fromkeys(word.strip() for word in said.keywords if word.strip())))


def _descriptions(texts: dict[str, str]) -> str:
    ordered = {DEFAULT: texts[DEFAULT], **texts}
    items = "".join(f"<rdf:li xml:lang={quoteattr(key)}>{escape(text)}</rdf:li>" for key, text in ordered.items())
    return f"   <dc:description><rdf:Alt>{items}</rdf:Alt></dc:description>\n"


def _keywords(words: Sequence[str]) -> str:
    items = "".join(f"<rdf:li>{escape(word)}</rdf:li>" for word in words)
    return f"   <dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>\n"


def _clean(text: str) -> str:
    """Without what XML has no way to write."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text).replace("\r", "")


class _Reader:
    """Walks through a packet once, and remembers where things stand."""

    def __init__(self, packet: bytes) -> None:
        self._data = _as_utf8(packet)
        self.descriptions: list[tuple[int, int]] = []  # where their elements or attributes begin and end
        self.subjects: list[tuple[int, int]] = []
        self.about = ""
        self._texts: dict[str, str] = {}
        self._words: list[str] = []
        self._path: list[tuple[str, int]] = []  # names of the open elements, and where each begins
        self._text: list[str] | None = None
        self._language = DEFAULT
        self._end_of_rdf: int | None = None
        self._prefixes: dict[str, list[str]] = {}  # what each means, the innermost last
        self._is_first = True
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.buffer_text = True
        self._parser.XmlDeclHandler = self._declaration
        self._parser.StartNamespaceDeclHandler = self._namespace
        self._parser.EndNamespaceDeclHandler = self._end_of_namespace
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        try:
            self._parser.Parse(self._data, True)
        except (ExpatError, ValueError, IndexError):
            raise _unreadable() from None
        if self._end_of_rdf is None:
            raise _unreadable()

    def said(self) -> Said:
        return Said(self._texts, tuple(dict.fromkeys(self._words)))

    def replaced(self, places: Sequence[tuple[int, int]], new: str) -> bytes:
        """The packet without these places, and with `new` at the end of what it says."""
        assert self._end_of_rdf is not None
        data, end = self._data, self._end_of_rdf
        pieces, at = [], 0
        for begin, finish in sorted(places):
            pieces.append(data[at:begin])
            at = finish
        return b"".join([*pieces, data[at:end], new.encode(), data[end:]])

    def _namespace(self, prefix: str | None, uri: str) -> None:
        self._prefixes.setdefault(prefix or "", []).append(uri)

    def _end_of_namespace(self, prefix: str | None) -> None:
        self._prefixes[prefix or ""].pop()

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
            raise _unreadable()  # what is written into it would be read as that

    def _doctype(self, *arguments: object) -> None:
        raise _unreadable()  # entities: a few bytes that stand for gigabytes

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        self._path.append((name, at))
        if len(self._path) > MAX_DEPTH:
            raise _unreadable()
        if self._is_node(self._path[:-1]):
            if self._is_first:
                self.about, self._is_first = attributes.get(f"{RDF} about", ""), False
            for key, places in ((f"{DC} description", self.descriptions), (f"{DC} subject", self.subjects)):
                if key in attributes:  # the short form of one value
                    places += self._attribute(at, key.rpartition(" ")[2])
                    if not (text := attributes[key].strip()):
                        continue
                    if places is self.descriptions:
                        self._texts.setdefault(DEFAULT, text)
                    else:
                        self._words.append(text)
        if name == f"{RDF} li" or name in (f"{DC} description", f"{DC} subject"):
            self._language, self._text = attributes.get(LANGUAGE, DEFAULT), []

    def _end(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        _, began = self._path.pop()
        if name in (f"{RDF} li", f"{DC} description", f"{DC} subject") and self._text is not None:
            self._take(name, "".join(self._text).strip())
            self._text = None
        if name in (f"{DC} description", f"{DC} subject"):
            places = self.descriptions if name.endswith("description") else self.subjects
            if self._is_node(self._path[:-1]):
                places.append((began, self._tag_end(began if self._is_empty(began) else at)))
        if name == f"{RDF} RDF":
            if self._is_empty(began):
                raise _unreadable()  # <rdf:RDF/>, which nothing writes
            self._end_of_rdf = at

    @staticmethod
    def _is_node(around: Sequence[tuple[str, int]]) -> bool:
        """Whether what stands in these elements speaks of the picture itself: others are about its ingredients."""
        return bool(around) and around[-1][0] == f"{RDF} RDF"

    def _take(self, name: str, text: str) -> None:
        around = [*self._path, (name, 0)]
        index = next((at for at, (each, _) in enumerate(around) if each.startswith(f"{DC} ")), 0)
        if not text or not self._is_node(around[: max(index - 1, 0)]):
            return
        if around[index][0] == f"{DC} description":
            self._texts[self._language] = text
        elif around[index][0] == f"{DC} subject":
            self._words.append(text)

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _is_empty(self, at: int) -> bool:
        """Whether the tag that begins there ends its element, too, as `<dc:subject/>` does."""
        return self._data[self._tag_end(at) - 2] == ord("/")

    def _tag_end(self, at: int) -> int:
        """Behind the tag that begins there; a `>` in an attribute doesn't end it."""
        quote = 0
        for place in range(at, len(self._data)):
            byte = self._data[place]
            if quote:
                quote = 0 if byte == quote else quote
            elif byte in b"\"'":
                quote = byte
            elif byte == ord(">"):
                return place + 1
        raise _unreadable()

    def _attribute(self, at: int, name: str) -> list[tuple[int, int]]:
        end = self._tag_end(at)
        names = {f"{prefix}:{name}".encode() for prefix, means in self._prefixes.items() if means[-1:] == [DC]}
        found = _ATTRIBUTE.finditer(self._data, at, end)  # one after the other: a value may look like an attribute
        return [each.span() for each in found if each[1] in names]


def _as_utf8(packet: bytes) -> bytes:
    if len(packet) > MAX_BYTES:
        raise _unreadable()
    for mark, code in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if packet.startswith(mark):
            try:
                return _DECLARED.sub(r"\1", packet[2:].decode(code), count=1).encode()
            except UnicodeError:
                raise _unreadable() from None
    return packet.rstrip(b"\0")


def _unreadable() -> InputError:
    return InputError("its XMP can't be read; repair or remove it")

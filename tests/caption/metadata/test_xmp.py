"""XMP packets, against Pillow's reading of them, the standard library's, and the bytes that were there before."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnilmm_lite.caption.metadata.containers import with_packet
from omnilmm_lite.caption.metadata.xmp import DC, RDF, Said, changed_xmp, read_xmp
from omnilmm_lite.errors import InputError

# As Lightroom and digiKam write them: prefixes of their own, attributes with line ends and `>`, other languages.
OTHERS = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core > 5.6">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="uuid:1&amp;2"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:d="{DC}" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:Rating="4"
   crs:Notes="first&#10;second &gt; >">
   <!-- kept -->
   <d:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></d:creator>
   <d:description>
    <rdf:Alt><rdf:li xml:lang="x-default">old &amp; wrong</rdf:li><rdf:li xml:lang="de">ein Bild</rdf:li></rdf:Alt>
   </d:description>
   <d:subject><rdf:Bag><rdf:li>Holiday</rdf:li><rdf:li>sea</rdf:li></rdf:Bag></d:subject>
   <crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurve>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()
SHORT = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about=''
 xmlns:dc='{DC}' dc:description='short' dc:format = "image/jpeg"/></rdf:RDF></x:xmpmeta>""".encode()


def elsewhere(packet: bytes) -> tuple[str, list[str]]:
    """Description and keywords as the standard library sees them."""
    tree = ElementTree.fromstring(packet)
    names = {"rdf": RDF, "dc": DC}
    texts = [each.text or "" for each in tree.findall(".//dc:description/rdf:Alt/rdf:li", names)]
    return texts[0] if texts else "", [each.text or "" for each in tree.findall(".//dc:subject/rdf:Bag/rdf:li", names)]


def test_a_new_packet_is_what_pillow_reads() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    packet = changed_xmp(None, "A <red> cat & 猫", ["cat", "red fur"])
    found = Image.open(io.BytesIO(with_packet(buffer.getvalue(), packet))).info["xmp"]
    assert elsewhere(found) == ("A <red> cat & 猫", ["cat", "red fur"])


def test_what_others_wrote_stays_byte_by_byte() -> None:
    assert read_xmp(OTHERS) == Said({"x-default": "old & wrong", "de": "ein Bild"}, ("Holiday", "sea"))
    changed = changed_xmp(OTHERS, "A cat.", ["sea", "cat"])
    assert read_xmp(changed) == Said({"x-default": "A cat.", "de": "ein Bild"}, ("Holiday", "sea", "cat"))
    assert elsewhere(changed) == ("A cat.", ["Holiday", "sea", "cat"])
    before, _, after = OTHERS.partition(b"   <d:description>")
    after = after[after.index(b"   <crs:ToneCurve>") : after.index(b" </rdf:RDF>")]
    assert changed.startswith(before)
    assert after in changed and changed.endswith(OTHERS[OTHERS.index(b"</rdf:RDF>") :])
    assert changed.count(b"uuid:1&amp;2") == 2  # of the same picture


def test_one_of_both_leaves_the_other_alone() -> None:
    assert read_xmp(changed_xmp(OTHERS, "A cat.", None)).keywords == ("Holiday", "sea")
    assert read_xmp(changed_xmp(OTHERS, None, ["x"])).description == "old & wrong"
    assert b"<d:subject>" in changed_xmp(OTHERS, "A cat.", None)


def test_the_short_form_is_replaced() -> None:
    assert read_xmp(SHORT).description == "short"
    changed = changed_xmp(SHORT, "longer", None)
    assert read_xmp(changed) == Said({"x-default": "longer"})
    assert b"short" not in changed and b'dc:format = "image/jpeg"' in changed
    assert elsewhere(changed) == ("longer", [])


def test_what_is_said_already_changes_no_byte() -> None:
    once = changed_xmp(OTHERS, "A cat.", ["cat"])
    assert changed_xmp(once, "A cat.", ["cat", "sea"]) == once
    assert changed_xmp(changed_xmp(None, "a", None), "a", None) == changed_xmp(None, "a", None)


@pytest.mark.parametrize("code", ["utf-16", "utf-16-be"])
def test_other_encodings_become_utf8(code: str) -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?>' + SHORT.decode()
    packet = text.encode(code) if code == "utf-16" else b"\xfe\xff" + text.encode(code)
    assert read_xmp(packet).description == "short"


def packet_with(node: str, more: str = "") -> bytes:
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">
<rdf:Description rdf:about="" xmlns:dc="{DC}" xmlns:o="urn:o"{more}>{node}</rdf:Description></rdf:RDF></x:xmpmeta>
""".encode()


@pytest.mark.parametrize(
    "packet",
    [
        packet_with("<dc:description/><o:a/>"),  # what programs leave of a text that was taken out
        packet_with("<dc:subject/><dc:description a='/>'/><o:a/>"),
        packet_with("<dc:description><rdf:Alt/></dc:description><dc:subject><rdf:Seq/></dc:subject><o:a/>"),
        packet_with("<o:a/>", ' dc:description="" dc:subject=""'),
    ],
)
def test_empty_elements_are_replaced(packet: bytes) -> None:
    assert read_xmp(packet) == Said()
    changed = changed_xmp(packet, "A cat.", ["cat"])
    assert elsewhere(changed) == ("A cat.", ["cat"])
    assert b"<o:a/></rdf:Description>" in changed


@pytest.mark.parametrize(
    "packet",
    [  # of what the picture was put together from, as Photoshop keeps it
        packet_with("<o:Pantry rdf:parseType='Resource'><dc:description>theirs</dc:description></o:Pantry>"),
        packet_with("<o:Pantry><rdf:Description dc:description='theirs'/></o:Pantry>"),
        packet_with("<o:Pantry><rdf:Bag><rdf:li><rdf:Description><dc:subject><rdf:Bag><rdf:li>theirs</rdf:li>"
                    "</rdf:Bag></dc:subject></rdf:Description></rdf:li></rdf:Bag></o:Pantry>"),
        packet_with("", """ o:said='"dc:description" is dc:description="theirs"' dc:description="own" """),
        packet_with("<o:b xmlns:q='" + DC + "'/>", ' xmlns:q="urn:q" q:description="theirs" dc:description="own"'),
    ],
)  # fmt: skip
def test_what_others_say_of_something_else_stays(packet: bytes) -> None:
    assert read_xmp(packet).description in ("", "own") and not read_xmp(packet).keywords
    changed = changed_xmp(packet, "A cat.", ["cat"])
    assert read_xmp(changed) == Said({"x-default": "A cat."}, ("cat",))
    assert b"theirs" in changed and b"own" not in changed


def test_what_is_written_is_read_in_the_encoding_that_is_declared() -> None:
    text = '<?xml version="1.0" encoding="{}"?>' + SHORT.decode()
    utf16 = changed_xmp(text.format("UTF-16").encode("utf-16"), "Käse", None)
    assert elsewhere(utf16) == ("Käse", [])
    with pytest.raises(InputError, match="its XMP can't be read"):
        changed_xmp(text.format("ISO-8859-1").encode(), "Käse", None)


def test_a_packet_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="its XMP can't be read"):
        changed_xmp(f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='{RDF}'/></x:xmpmeta>".encode(), "a", None)


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    "packet", [b"", b"no XMP", b"<x/>", OTHERS[:-300], BOMB, b"<a>" * 5000, b"\xff\xfe\0", SHORT + b"<", bytes(99)]
)
def test_a_packet_that_cannot_be_read_is_refused(packet: bytes) -> None:
    with pytest.raises(InputError, match="its XMP can't be read"):
        changed_xmp(packet, "A cat.", None)


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=20), max_size=5), st.booleans())
def test_any_text_comes_back_as_xml_has_it(text: str, words: list[str], is_new: bool) -> None:
    """XML's own letters are those of its specification, section 2.2."""
    changed = changed_xmp(None if is_new else OTHERS, "A cat. " + text, words)
    ElementTree.fromstring(changed)
    kept = [char for char in text if char in "\t\n" or (char >= " " and char not in "\ufffe\uffff")]
    assert read_xmp(changed).description.split() == ("A cat. " + "".join(kept)).split()


@given(st.integers(0, len(OTHERS) - 1), st.integers(0, 255))
def test_a_damaged_packet_is_read_or_refused(where: int, byte: int) -> None:
    broken = OTHERS[:where] + bytes([byte]) + OTHERS[where + 1 :]
    try:
        changed = changed_xmp(broken, "A cat.", ["cat"])
    except InputError:
        return
    assert read_xmp(changed).description == "A cat."

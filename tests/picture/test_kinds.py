"""Files in a picture's place are called by their names: first bytes as each format's specification has them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnilmm_lite.picture.kinds.kind import READ, Kind
from omnilmm_lite.picture.kinds.signatures import kind_of
from omnilmm_lite.picture.listing import Filter, list_pictures
from omnilmm_lite.picture.reading import load_image
from tests.picture.test_reading import encoded, noise, refusal


def boxes(main: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + main + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 4 + len(body)) + body + b"\0\0\0\x08free"


def tiff(*entries: tuple[int, int, int, int], order: str = "<", more: bytes = b"") -> bytes:
    """(tag, type, count, value or offset); `more` stands behind the directory."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    body = b"".join(
        struct.pack(order + "HHIHH", tag, kind, count, value, 0)
        if kind == 3
        else struct.pack(order + "HHII", tag, kind, count, value)
        for tag, kind, count, value in entries
    )
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4) + more


def raw_of(maker: bytes, order: str = "<") -> bytes:
    """A thumbnail in front, the sensor's picture in a directory below, as Nikon's, Sony's and others' cameras write."""
    behind = 8 + 2 + 12 * 3 + 4
    more = maker.ljust(20, b"\0") + struct.pack(order + "H", 1) + struct.pack(order + "HHIHH", 262, 3, 1, 32803, 0)
    entries = (254, 4, 1, 1), (271, 2, len(maker) + 1, behind), (330, 4, 1, behind + 20)
    return tiff(*entries, order=order, more=more + bytes(4))


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.jpg", "x")
    return buffer.getvalue()


FILES = {
    "JPEG XL": [b"\xff\x0a" + bytes(40), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), boxes(b"jxl ")],
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), b"\xff\x4f\xff\x51\0\x2f", boxes(b"jp2 ")],
    "JPEG XR": [b"II\xbc\x01" + bytes(20)],
    "SVG": [b"<svg xmlns='x'/>", b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg/>', b"\xef\xbb\xbf  <SVG></SVG>"],
    "PDF": [b"%PDF-1.7\n%\xe2\xe3"],
    "Photoshop": [b"8BPS\0\x01" + bytes(20)],
    "GIMP": [b"gimp xcf file\0"],
    "OpenEXR": [b"\x76\x2f\x31\x01\x02\0\0\0"],
    "Radiance HDR": [b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n"],
    "DDS": [b"DDS \x7c\0\0\0"],
    "an icon": [encoded(Image.new("RGBA", (16, 16)), "ICO")],
    "Netpbm": [encoded(Image.new("RGB", (2, 2)), "PPM"), b"P2\n2 2 9 1 2 3 4"],
    "PostScript": [encoded(Image.new("RGB", (2, 2)), "EPS")],
    "Canon CR2": [b"II*\0\x10\0\0\0CR\x02\0" + bytes(40)],
    "Canon CR3": [boxes(b"crx ", b"crx ", b"isom")],
    "Nikon NEF": [raw_of(b"NIKON CORPORATION"), raw_of(b"NIKON CORPORATION", ">")],
    "Sony ARW": [raw_of(b"SONY")],
    "Pentax PEF": [raw_of(b"PENTAX")],
    "a camera's raw file": [raw_of(b"Phase One"), tiff((262, 3, 1, 34892))],
    "DNG": [tiff((50706, 1, 4, 0x00000401)), tiff((50706, 1, 4, 1), order=">")],
    "Fujifilm RAF": [b"FUJIFILMCCD-RAW 0201"],
    "Olympus ORF": [b"IIRO\x08\0\0\0", b"IIRS\x08\0\0\0", b"MMOR\0\0\0\x08"],
    "Panasonic RW2": [b"IIU\0\x18\0\0\0"],
    "MP4": [boxes(b"isom", b"mp41"), boxes(b"mp42"), boxes(b"avc1")],
    "QuickTime": [boxes(b"qt  "), b"\0\0\0\x08wide\0\0\0\0mdat"],
    "WebM": [b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01"],
    "AVI": [b"RIFF\x10\0\0\0AVI LIST"],
    "ZIP": [archive()],
    "gzip": [gzip.compress(b"x" * 100)],
    "web page": [b"<!DOCTYPE html><html>", b"\n <html lang='en'>", b'<?xml version="1.0"?><html xmlns="x"/>'],
    "Git LFS": [b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n"],
    "JSON": [b'{"error": "not found"}', b'[{"a": 1}]'],
    "text": [b"no picture at all\n", "ein Bild".encode("utf-16"), "404: nicht gefunden für Sie".encode()],
    "zero bytes": [bytes(5000)],
    "sound": [b"RIFF\x10\0\0\0WAVEfmt ", b"ID3\x04\0"],
    "program": [b"\x7fELF\x02\x01\x01"],
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_is_refused_is_called_by_its_name(name: str) -> None:
    for data in FILES[name]:
        text = refusal(data)
        assert text.startswith("picture: this is not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture but "), text
        assert name in text and "; " in text


def test_an_empty_file_is_called_empty() -> None:
    assert "the file is empty" in refusal(b"")


def test_a_file_of_boxes_goes_by_its_brands() -> None:
    assert kind_of(boxes(b"heic", b"mif1")) is Kind.HEIC
    assert kind_of(boxes(b"mif1", b"mif1", b"heic")) is Kind.HEIC
    assert kind_of(boxes(b"mif1", b"mif1", b"avif")) is Kind.AVIF
    assert kind_of(boxes(b"msf1", b"hevc")) is Kind.HEIC
    assert kind_of(boxes(b"avis")) is Kind.AVIF


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_what_can_be_read_is_told_apart_and_damage_called_damage(kind: str) -> None:
    data = encoded(noise(40, 30), kind)
    assert kind_of(data) is Kind[kind] and Kind[kind] in READ
    assert "but " not in refusal(data[:14]) and "picture is damaged" in refusal(data[:14])


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 30}, {"save_all": True}])
def test_every_sort_of_webp_is_read(options: dict[str, object]) -> None:
    frames = {"append_images": [noise(40, 30, 1)]} if "save_all" in options else {}
    assert load_image(encoded(noise(40, 30).convert("RGBA"), "WEBP", **options, **frames)).size == (40, 30)


def test_pictures_that_cameras_and_programs_wrote_as_tiff_are_read() -> None:
    """With a maker, and even with directories below: of smaller versions."""
    data = encoded(noise(40, 30), "TIFF", tiffinfo={271: "NIKON CORPORATION", 272: "Z 8"})
    assert load_image(data).size == (40, 30)


@given(st.binary(max_size=300))
def test_any_bytes_have_a_kind_or_none(data: bytes) -> None:
    for start in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\0\0\0\x20ftyp", b"RIFF", b"<"):
        assert kind_of(start + data) in (None, *Kind)


def test_a_directory_that_leads_round_in_circles_ends() -> None:
    assert kind_of(tiff((330, 4, 1, 8))) is Kind.TIFF
    assert kind_of(tiff((330, 4, 2**32 - 1, 8))) is Kind.TIFF
    assert kind_of(b"II*\0" + struct.pack("<I", 2**32 - 1)) is Kind.TIFF


def test_what_a_folder_holds_besides_is_counted_by_kind(tmp_path: Path) -> None:
    names = ["a.png", "1.jxl", "2.JXL", "3.svg", "b/4.jp2", "b/5.MOV", "b/6.cr2", "notes.txt", "a.xmp", ".hidden.jxl"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listing = list_pictures(tmp_path, Filter())
    assert listing.paths == ("a.png",)
    told = listing.told_passed_over()
    assert told.startswith("6 files of kinds that can't be read: 2 JPEG XL, ")
    assert set(told.split(": ")[1].split(", ")[1:]) == {
        "1 SVG", "1 JPEG 2000", "1 QuickTime video", "1 Canon CR2 raw file"
    }  # fmt: skip
    assert list_pictures(tmp_path, Filter(exclude=["*.jxl", "b"])).told_passed_over().endswith(": 1 SVG")
    assert list_pictures(tmp_path, Filter(include=["*.png"])).told_passed_over() == ""


def test_avif_that_this_pillow_cannot_read_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noise(40, 30), "AVIF")
    monkeypatch.setattr("omnilmm_lite.picture.reading.FORMATS", ("PNG",))  # as where its plug-in isn't there
    monkeypatch.setattr("omnilmm_lite.picture.reading.features.check", lambda name: name != "avif")
    assert refusal(data) == "picture: this is AVIF, which Pillow was built without here; save it as JPEG or PNG"

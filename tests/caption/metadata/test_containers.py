"""XMP in a picture's file: the pixels and every other part stay, byte by byte."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from omnilmm_lite.caption.metadata.containers import JPEG_MOST, packet_of, with_packet
from omnilmm_lite.caption.metadata.xmp import changed_xmp, read_xmp
from omnilmm_lite.errors import InputError
from tests.picture import icc

PROFILE = icc.matrix_profile(icc.P3, icc.parametric(icc.SRGB_CURVE))
PACKET = changed_xmp(None, "A cat.", ["cat"])


def picture(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (21, 33, 4), np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif() -> Image.Exif:
    block = Image.Exif()
    block[272] = "camera"
    return block


def text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "kept")
    return info


FILES = {
    "JPEG": encoded(picture(), "JPEG", exif=exif(), icc_profile=PROFILE, comment=b"kept"),
    "JPEG, bare": encoded(picture(), "JPEG")[:2] + encoded(picture(), "JPEG")[20:],  # without JFIF's segment
    "JPEG, progressive": encoded(picture("L"), "JPEG", progressive=True),
    "JPEG of several": encoded(picture(), "MPO", save_all=True, append_images=[picture()]),
    "PNG": encoded(picture("RGBA"), "PNG", pnginfo=text(), exif=exif(), icc_profile=PROFILE),
    "PNG, palette": encoded(picture().quantize(16), "PNG"),
    "PNG, animated": encoded(picture(), "PNG", save_all=True, append_images=[picture("L").convert("RGB")]),
    "WebP, lossy": encoded(picture(), "WEBP"),
    "WebP, lossless": encoded(picture(), "WEBP", lossless=True),
    "WebP, transparent": encoded(picture("RGBA"), "WEBP", lossless=True),
    "WebP, lossy, transparent": encoded(picture("RGBA"), "WEBP"),
    "WebP, extended": encoded(picture(), "WEBP", exif=exif(), icc_profile=PROFILE),
    "WebP, animated": encoded(picture(), "WEBP", save_all=True, append_images=[picture("L").convert("RGB")]),
}


def parts(data: bytes) -> list[bytes]:
    """Everything in the file but XMP, taken apart anew here."""
    found = []
    if data.startswith(b"\xff\xd8"):
        at = 2
        while data[at + 1] != 0xDA:
            end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
            found.append(data[at:end])
            at = end
        return [*(part for part in found if b"ns.adobe.com/xap" not in part[:40]), data[at:]]
    is_png = data.startswith(b"\x89PNG")
    at = 8 if is_png else 12
    while at < len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        size, name = (first, second) if is_png else (second, first)
        length = int.from_bytes(size, "big" if is_png else "little")
        end = at + 8 + length + (4 if is_png else length % 2)
        if is_png:
            assert zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        if name not in (b"XMP ", b"VP8X") and b"XML:com.adobe.xmp" not in data[at : at + 40]:
            found.append(data[at:end])
        at = end
    assert at == len(data) and (is_png or int.from_bytes(data[4:8], "little") == len(data) - 8)
    return found


def frames(data: bytes) -> list[bytes]:
    image = Image.open(io.BytesIO(data))
    shown = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        shown.append(image.mode.encode() + image.convert("RGBA").tobytes())
    return shown


@pytest.mark.parametrize("name", FILES)
def test_pixels_and_all_other_parts_stay(name: str) -> None:
    data = FILES[name]
    once = with_packet(data, PACKET)
    twice = with_packet(once, changed_xmp(packet_of(once), "Another, longer one, of odd length!", None))
    for changed in (once, twice):
        assert frames(changed) == frames(data)
        assert parts(changed) == parts(data)
        before, after = (Image.open(io.BytesIO(each)) for each in (data, changed))
        assert before.info.get("icc_profile") == after.info.get("icc_profile")
        assert before.getexif() == after.getexif() and before.size == after.size
    assert packet_of(data) is None and packet_of(once) == PACKET
    assert read_xmp(packet_of(twice) or b"").description == "Another, longer one, of odd length!"
    assert twice.count(b"</x:xmpmeta>") == 1


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_what_pillow_wrote_is_found_and_what_we_write_pillow_finds(kind: str) -> None:
    theirs = encoded(picture(), kind, xmp=PACKET)
    assert packet_of(theirs) == PACKET
    ours = with_packet(theirs, changed_xmp(PACKET, "changed", None))
    found = Image.open(io.BytesIO(ours)).info["xmp"]
    assert b"changed" in found and b"A cat." not in found


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": exif().tobytes(), "icc_profile": PROFILE}])
def test_a_webp_becomes_what_libwebp_would_have_made(mode: str, options: dict[str, object]) -> None:
    """Header, flags, order and all."""
    ours = with_packet(encoded(picture(mode), "WEBP", **options), PACKET)
    assert ours == encoded(picture(mode), "WEBP", xmp=PACKET, **options)


def test_a_compressed_packet_of_a_png_is_read_and_replaced() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", PACKET.decode(), zip=True)
    data = encoded(picture(), "PNG", pnginfo=info)
    assert packet_of(data) == PACKET
    assert parts(with_packet(data, b"<new/>")) == parts(encoded(picture(), "PNG"))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF"])
def test_other_kinds_are_refused_by_name(kind: str) -> None:
    assert packet_of(encoded(picture(), kind)) is None
    with pytest.raises(InputError, match=rf"nothing is written into {kind}, only into JPEG, PNG and WebP; take --xmp"):
        with_packet(encoded(picture(), kind), PACKET)


def test_further_pictures_are_still_found() -> None:
    """An index counts from its own place, so what lies between it and them must not grow."""
    data = FILES["JPEG of several"]
    index = data.index(b"MPF\0") + 4
    end = index - 8 + 2 + int.from_bytes(data[index - 6 : index - 4], "big")
    with_old = with_packet(FILES["JPEG, bare"], PACKET)
    old = with_old[2 : with_old.index(b"\xff\xdb")]
    second = bytearray(data[:end] + old + data[end:])
    place = data.index((data.rindex(b"\xff\xd8\xff") - index).to_bytes(4, "little"), index)
    second[place : place + 4] = (data.rindex(b"\xff\xd8\xff") - index + len(old)).to_bytes(4, "little")
    assert frames(bytes(second)) == frames(data) and packet_of(bytes(second)) == PACKET
    same_length = PACKET.replace(b"A cat.", b"A dog.")
    assert frames(with_packet(bytes(second), same_length)) == frames(data)
    with pytest.raises(InputError, match=r"lies behind the index of its further pictures.*take --xmp"):
        with_packet(bytes(second), PACKET + b" ")


def test_a_jpeg_takes_no_more_than_a_segment() -> None:
    assert packet_of(with_packet(FILES["JPEG"], bytes(JPEG_MOST))) == bytes(JPEG_MOST)
    with pytest.raises(InputError, match=f"holds {JPEG_MOST} bytes of XMP, this would be {JPEG_MOST + 1}"):
        with_packet(FILES["JPEG"], bytes(JPEG_MOST + 1))


@given(st.sampled_from(sorted(FILES)), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_taken_or_refused(name: str, where: int, byte: int, is_cut: bool) -> None:
    data = FILES[name]
    broken = data[:where] if is_cut else data[:where] + bytes([byte]) + data[where + 1 :]
    packet_of(broken)
    try:
        changed = with_packet(broken, PACKET)
    except InputError:
        return
    assert packet_of(changed) == PACKET

"""Kinds by their first bytes.

Sources: each format's own specification, and for containers of boxes the registered brands (mp4ra.org).
"""

from __future__ import annotations

import re

from omnilmm_lite.picture.kinds.camera_raw import camera_raw
from omnilmm_lite.picture.kinds.kind import Kind

HEAD_BYTES = 4096  # looked at, but for TIFF's directories

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff\xf7", Kind.JPEG_LS),
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"BM", Kind.BMP),
    (b"\xff\x0a", Kind.JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Kind.JPEG_XL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Kind.JPEG_2000),
    (b"\xff\x4f\xff\x51", Kind.JPEG_2000),
    (b"II\xbc\x01", Kind.JPEG_XR),
    (b"8BPS", Kind.PSD),
    (b"gimp xcf", Kind.XCF),
    (b"\x76\x2f\x31\x01", Kind.EXR),
    (b"#?RADIANCE", Kind.HDR),
    (b"#?RGBE", Kind.HDR),
    (b"DDS ", Kind.DDS),
    (b"\xabKTX ", Kind.KTX),
    (b"\0\0\x01\0", Kind.ICO),
    (b"icns", Kind.ICNS),
    (b"qoif", Kind.QOI),
    (b"FLIF", Kind.FLIF),
    (b"BPG\xfb", Kind.BPG),
    (b"SIMPLE  =", Kind.FITS),
    (b"AT&TFORM", Kind.DJVU),
    (b"\xd7\xcd\xc6\x9a", Kind.WMF),
    (b"FUJIFILMCCD-RAW", Kind.RAF),
    (b"IIRO", Kind.ORF),
    (b"IIRS", Kind.ORF),
    (b"MMOR", Kind.ORF),
    (b"IIU\0", Kind.RW2),
    (b"II\x1a\0\0\0HEAPCCDR", Kind.CRW),
    (b"FOVb", Kind.X3F),
    (b"\x1a\x45\xdf\xa3", Kind.MATROSKA),
    (b"\0\0\x01\xba", Kind.MPEG),
    (b"\0\0\x01\xb3", Kind.MPEG),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind.WMV),
    (b"FLV\x01", Kind.FLV),
    (b"%PDF-", Kind.PDF),
    (b"%!PS", Kind.POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", Kind.POSTSCRIPT),
    (b"PK\x03\x04", Kind.ZIP),
    (b"PK\x05\x06", Kind.ZIP),
    (b"\x1f\x8b", Kind.GZIP),
    (b"Rar!\x1a\x07", Kind.RAR),
    (b"7z\xbc\xaf\x27\x1c", Kind.SEVEN_ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind.OFFICE),
    (b"ID3", Kind.AUDIO),
    (b"OggS", Kind.AUDIO),
    (b"fLaC", Kind.AUDIO),
    (b"\x7fELF", Kind.PROGRAM),
    (b"MZ", Kind.PROGRAM),
    (b"version https://git-lfs.github.com/spec/", Kind.LFS_POINTER),
)
_RIFF = {b"WEBP": Kind.WEBP, b"AVI ": Kind.AVI, b"WAVE": Kind.AUDIO}
# the main brand of a file of boxes, and those that only say that another one follows
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), Kind.HEIC),
    **dict.fromkeys((b"avif", b"avis"), Kind.AVIF),
    b"jxl ": Kind.JPEG_XL,
    **dict.fromkeys((b"jp2 ", b"jpx ", b"jpm "), Kind.JPEG_2000),
    b"crx ": Kind.CR3,
    b"qt  ": Kind.MOV,
}
_GENERAL_BRANDS = (b"mif1", b"msf1", b"mif2")  # HEIF; the codec is among the compatible ones
_NETPBM = re.compile(rb"P[1-7]\s")
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body|script|meta|title|!--)", re.IGNORECASE)


def kind_of(data: bytes | memoryview) -> Kind | None:
    """The kind of a file, by its bytes; None where they are no known kind's. An empty file has none."""
    head = bytes(data[:HEAD_BYTES])
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return camera_raw(data) or Kind.TIFF
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _of_boxes(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip") and len(head) > 8:
        return Kind.MOV
    if head[128:132] == b"DICM":
        return Kind.DICOM
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if _NETPBM.match(head):
        return Kind.NETPBM
    return _of_text(head)


def _of_boxes(head: bytes) -> Kind:
    """ISO base media: the size of the first box, `ftyp`, the main brand, its version, compatible brands."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    compatible = [head[at : at + 4] for at in range(16, size - 3, 4)]
    main = head[8:12]
    if main in _BRANDS:
        return _BRANDS[main]
    if main in _GENERAL_BRANDS:
        return next((_BRANDS[each] for each in compatible if each in _BRANDS), Kind.HEIC)
    return Kind.MP4


def _of_text(head: bytes) -> Kind | None:
    if head and not head.strip(b"\0"):
        return Kind.ZEROS
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, as Windows' Notepad writes it
        return Kind.TEXT
    if not text or b"\0" in head or sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not the last letter, which was cut
            return None
    if b"<svg" in head.lower() and text.startswith(b"<"):
        return Kind.SVG
    if _HTML.match(text):
        return Kind.HTML
    if text.startswith(b"<?xml"):
        return Kind.HTML if b"<html" in head.lower() else Kind.XML
    return Kind.JSON if text[:1] in (b"{", b"[") and text[1:].lstrip()[:1] in (b'"', b"{", b"}", b"[") else Kind.TEXT

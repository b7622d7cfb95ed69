"""Kinds of files that come in a picture's place, each with its name and a way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

AS_PICTURE = "save it as JPEG or PNG"
DEVELOP = "develop it to a JPEG"
FRAME = "save one of its frames as JPEG or PNG"
PAGE = "save the page as PNG"
HEIC_PACKAGE = "pip install 'omnilmm-lite[heic]'"


@dataclass(frozen=True)
class Told:
    """How errors and counts name a kind, what is to be done, and the endings of such files, in small letters."""

    name: str
    advice: str = AS_PICTURE
    suffixes: tuple[str, ...] = ()


class Kind(Enum):
    """Those that are read stand first. The endings of what nobody takes for a picture are left out."""

    JPEG = Told("JPEG", "get a complete copy of it", (".jpg", ".jpeg", ".jpe", ".jfif"))
    PNG = Told("PNG", "get a complete copy of it", (".png",))
    WEBP = Told("WebP", "get a complete copy of it", (".webp",))
    GIF = Told("GIF", "get a complete copy of it", (".gif",))
    BMP = Told("BMP", "get a complete copy of it, or save it as PNG", (".bmp", ".dib"))
    TIFF = Told("TIFF", "get a complete copy of it, or save it as PNG", (".tif", ".tiff"))
    AVIF = Told("AVIF", "get a complete copy of it, or save it as JPEG", (".avif",))
    HEIC = Told("HEIC", f"{HEIC_PACKAGE} lets it be read, or save it as JPEG", (".heic", ".heif", ".hif"))

    JPEG_XL = Told("JPEG XL", suffixes=(".jxl",))
    JPEG_2000 = Told("JPEG 2000", suffixes=(".jp2", ".j2k", ".jpf", ".jpx", ".jpm"))
    JPEG_XR = Told("JPEG XR", suffixes=(".jxr", ".wdp", ".hdp"))
    JPEG_LS = Told("JPEG-LS", suffixes=(".jls",))
    SVG = Told("SVG", "draw it as PNG", (".svg", ".svgz"))
    PSD = Told("a Photoshop document", suffixes=(".psd", ".psb"))
    XCF = Told("a GIMP document", suffixes=(".xcf",))
    EXR = Told("OpenEXR", suffixes=(".exr",))
    HDR = Told("Radiance HDR", suffixes=(".hdr",))
    DDS = Told("a DDS texture", suffixes=(".dds",))
    KTX = Told("a KTX texture", suffixes=(".ktx", ".ktx2"))
    ICO = Told("an icon", suffixes=(".ico",))
    ICNS = Told("an icon of macOS", suffixes=(".icns",))
    NETPBM = Told("Netpbm", suffixes=(".ppm", ".pgm", ".pbm", ".pnm", ".pam"))
    QOI = Told("QOI", suffixes=(".qoi",))
    FLIF = Told("FLIF", suffixes=(".flif",))
    BPG = Told("BPG", suffixes=(".bpg",))
    FITS = Told("FITS", suffixes=(".fits",))
    DICOM = Told("DICOM", suffixes=(".dcm",))
    DJVU = Told("DjVu", PAGE, (".djvu",))
    TGA = Told("TGA", suffixes=(".tga",))
    PCX = Told("PCX", suffixes=(".pcx",))
    WMF = Told("a Windows metafile", suffixes=(".wmf", ".emf"))

    CR2 = Told("a Canon CR2 raw file", DEVELOP, (".cr2",))
    CR3 = Told("a Canon CR3 raw file", DEVELOP, (".cr3",))
    CRW = Told("a Canon CRW raw file", DEVELOP, (".crw",))
    NEF = Told("a Nikon NEF raw file", DEVELOP, (".nef", ".nrw"))
    ARW = Told("a Sony ARW raw file", DEVELOP, (".arw", ".sr2", ".srf"))
    DNG = Told("a DNG raw file", DEVELOP, (".dng",))
    RAF = Told("a Fujifilm RAF raw file", DEVELOP, (".raf",))
    ORF = Told("an Olympus ORF raw file", DEVELOP, (".orf",))
    RW2 = Told("a Panasonic RW2 raw file", DEVELOP, (".rw2", ".rwl"))
    PEF = Told("a Pentax PEF raw file", DEVELOP, (".pef",))
    SRW = Told("a Samsung SRW raw file", DEVELOP, (".srw",))
    X3F = Told("a Sigma X3F raw file", DEVELOP, (".x3f",))
    RAW = Told("a camera's raw file", DEVELOP)

    MP4 = Told("an MP4 video", FRAME, (".mp4", ".m4v"))
    MOV = Told("a QuickTime video", FRAME, (".mov",))
    MATROSKA = Told("a WebM or Matroska video", FRAME, (".webm", ".mkv"))
    AVI = Told("an AVI video", FRAME, (".avi",))
    MPEG = Told("an MPEG video", FRAME, (".mpg", ".mpeg"))
    WMV = Told("a Windows Media video", FRAME, (".wmv",))
    FLV = Told("a Flash video", FRAME, (".flv",))

    PDF = Told("PDF", PAGE, (".pdf",))
    POSTSCRIPT = Told("PostScript", PAGE, (".eps", ".ps"))
    ZIP = Told("a ZIP archive or an office document", "unpack it, and name a picture in it")
    GZIP = Told("a gzip archive", "unpack it, and name a picture in it")
    RAR = Told("a RAR archive", "unpack it, and name a picture in it")
    SEVEN_ZIP = Told("a 7-Zip archive", "unpack it, and name a picture in it")
    OFFICE = Told("an office document of before 2007", "save the picture in it as PNG")
    AUDIO = Told("a sound file", "name a picture")
    HTML = Told("a web page", "download the picture itself")
    LFS_POINTER = Told("a pointer of Git LFS", "run `git lfs pull` to get the picture")
    XML = Told("XML", "name a picture")
    JSON = Told("JSON", "name a picture")
    ZEROS = Told("nothing but zero bytes", "get the picture again: its copy was never finished")
    TEXT = Told("text", "name a picture")
    PROGRAM = Told("a program", "name a picture")

    @property
    def label(self) -> str:
        """Its name, with an article where it takes one."""
        return self.value.name

    @property
    def advice(self) -> str:
        return self.value.advice

    @property
    def suffixes(self) -> tuple[str, ...]:
        return self.value.suffixes


READ = (Kind.JPEG, Kind.PNG, Kind.WEBP, Kind.GIF, Kind.BMP, Kind.TIFF, Kind.AVIF)

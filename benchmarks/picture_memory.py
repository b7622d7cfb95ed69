"""What a picture of each kind costs to prepare: memory over the process's own, addresses, processor time.

python -m benchmarks.picture_memory [WORD ...]

Each of the largest size that is taken, in a process of its own, without the limit on what decoding may take. Only those
kinds whose name holds one of the words. Linux alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 9459  # 89 megapixels
CHILD = """
import sys, time
from pathlib import Path
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.picture import reading
from omnilmm_lite.picture.prepared_image import prepare

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

reading.MAX_DECODED_BYTES = 2**40
data = Path(sys.argv[1]).read_bytes()
before, started = status("VmHWM"), time.process_time()
prepare(data, VisionConfig())
seconds = time.process_time() - started
print(f"{len(data) / 2**20:.0f} | {status('VmHWM') - before:.0f} | {status('VmPeak'):.0f} | {seconds:.1f}")
"""


def grey() -> Image.Image:
    rows, columns = np.arange(SIDE, dtype=np.uint32)[:, None], np.arange(SIDE, dtype=np.uint32)[None]
    return Image.fromarray(((columns // 37 + rows // 53) % 256).astype(np.uint8))


def colours() -> Image.Image:
    image = grey()
    return Image.merge("RGB", (image, image.transpose(Image.Transpose.ROTATE_90), image.rotate(180)))


def with_alpha() -> Image.Image:
    return Image.merge("RGBA", (*colours().split(), grey()))


def as_numbers(dtype: type) -> Image.Image:
    return Image.fromarray(np.asarray(grey()).astype(dtype))


DEFLATE: dict[str, object] = {"compression": "tiff_adobe_deflate"}
KINDS: dict[str, tuple[str, Callable[[], Image.Image], dict[str, object]]] = {
    "PNG, 1 bit": ("PNG", lambda: grey().convert("1"), {}),
    "PNG, grey": ("PNG", grey, {}),
    "PNG, grey of 16 bits": ("PNG", lambda: as_numbers(np.uint16), {}),
    "PNG, grey and alpha": ("PNG", lambda: grey().convert("LA"), {}),
    "PNG, palette": ("PNG", lambda: colours().quantize(64, method=Image.Quantize.FASTOCTREE), {}),
    "PNG, RGB": ("PNG", colours, {}),
    "PNG, RGBA": ("PNG", with_alpha, {}),
    "TIFF, grey of 16 bits": ("TIFF", lambda: as_numbers(np.uint16), {}),
    "TIFF, grey of 32 bits": ("TIFF", lambda: as_numbers(np.int32), {}),
    "TIFF, floats, LZW": ("TIFF", lambda: as_numbers(np.float32), {"compression": "tiff_lzw"}),
    "TIFF, RGB, LZW": ("TIFF", colours, {"compression": "tiff_lzw"}),
    "TIFF, RGB, one strip": ("TIFF", colours, DEFLATE | {"tiffinfo": {278: SIDE}, "strip_size": 2**31 - 1}),
    "TIFF, CMYK": ("TIFF", lambda: colours().convert("CMYK"), DEFLATE),
    "BMP, RGB": ("BMP", colours, {}),
    "GIF": ("GIF", lambda: colours().quantize(64, method=Image.Quantize.FASTOCTREE), {}),
    "JPEG": ("JPEG", colours, {}),
    "JPEG, progressive": ("JPEG", colours, {"progressive": True}),
    "JPEG, 4000 wide": ("JPEG", lambda: colours().resize((4000, 22369)), {}),
    "JPEG, 4000 wide, progressive, 4:4:4": (
        "JPEG", lambda: colours().resize((4000, 22369)), {"progressive": True, "subsampling": 0}
    ),
    "WebP": ("WEBP", colours, {"method": 0}),
    "WebP, alpha": ("WEBP", with_alpha, {"method": 0}),
    "AVIF": ("AVIF", colours, {"speed": 10}),
    "AVIF, alpha": ("AVIF", with_alpha, {"speed": 10, "subsampling": "4:4:4"}),
    "HEIC": ("HEIF", colours, {}),
    "HEIC of tiles": ("HEIF", colours, {"tile_size": 512}),
    "HEIC, alpha, 4:4:4": ("HEIF", with_alpha, {"chroma": 444}),
}  # fmt: skip


def main(words: list[str]) -> None:
    print("| picture | file, MiB | memory, MiB | addresses, MiB | processor, s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, make, options) in KINDS.items():
            if words and not any(word in name for word in words):
                continue
            path = Path(folder, "picture")
            if kind == "HEIF":
                import pillow_heif

                pillow_heif.register_heif_opener()
            make().save(path, kind, **options)
            done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
            print(f"| {name} | {done.stdout.strip()} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

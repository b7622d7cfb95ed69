"""Pictures in a process of their own: the same numbers, and bounds that hold."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture import decoding_process, decoding_worker
from omnilmm_lite.picture.decoding_process import DecodingEnded, DecodingProcess
from omnilmm_lite.picture.file import MAX_FILE_BYTES, PictureFile
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.picture.reading import MAX_DECODED_BYTES, load_image, pixel_hash
from tests.paths import ROOT
from tests.systems import HEED_INTERRUPTS, PYTHON, linux_alone

SMALL = VisionConfig(image_size=28)
posix = pytest.mark.skipif(sys.platform == "win32", reason="there, programs are asked")


@pytest.fixture
def process() -> Iterator[DecodingProcess]:
    process = DecodingProcess()
    yield process
    process.close()


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pid(process: DecodingProcess) -> int:
    process.start()
    assert process._process is not None
    return process._process.pid


@pytest.mark.parametrize("side", [28, 448])
def test_it_gives_what_this_process_would(process: DecodingProcess, side: int) -> None:
    config = VisionConfig(image_size=side)
    files = [path.read_bytes() for path in sorted((ROOT / "examples" / "pictures").glob("*.[pj]*g"))]
    files.append(encoded(Image.fromarray(skimage.data.chelsea()), "JPEG"))
    assert len(files) > 5
    before = pid(process)
    for file in files:
        prepared = process.prepare(PictureFile(file), config)
        image = load_image(file)
        assert (prepared.size, prepared.pixel_hash) == (image.size, pixel_hash(image))
        np.testing.assert_array_equal(prepared.pixels, preprocess(image, config))
    assert pid(process) == before


@pytest.mark.parametrize("file", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"x" * 100_000])
def test_what_is_refused_here_is_refused_there_in_the_same_words(process: DecodingProcess, file: bytes) -> None:
    with pytest.raises(InputError) as here:
        load_image(file)
    with pytest.raises(InputError) as there:
        process.prepare(PictureFile(file), SMALL)
    assert str(there.value) == str(here.value)


@posix
def test_a_crash_costs_one_picture(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    good = encoded(Image.new("RGB", (5, 5), "red"))
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", "import os; os.abort()"])
    with pytest.raises(InputError, match="broke down"):
        process.prepare(PictureFile(good), SMALL)
    monkeypatch.undo()
    assert process.prepare(PictureFile(good), SMALL).pixels.shape == (1, 3, 28, 28)


ENDLESS = """
import os, sys
from omnilmm_lite.picture import decoding_worker
decoding_worker.CPU_SECONDS = 1
def spin(file, config, **options):
    while True: pass
decoding_worker.prepare = spin
decoding_worker.main()
"""
HUNGRY = """
from omnilmm_lite.picture import decoding_worker
decoding_worker.prepare = lambda file, config, **options: bytearray(decoding_worker.MEMORY_BYTES)
decoding_worker.main()
"""


@posix
def test_time_is_bounded(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", ENDLESS])
    with pytest.raises(InputError, match="takes more than"):
        process.prepare(PictureFile(b"x"), SMALL)


@linux_alone
def test_a_parent_that_is_gone_ends_it_in_the_middle_of_a_picture() -> None:
    program = ENDLESS.replace("= 1", "= 1000").replace("    while", "    os.write(replies, b'.')\n    while")
    program = program.replace("import os, sys", "import os, sys; replies = os.dup(1)")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(decoding_worker.REQUEST.pack(28, 1, 1, False) + b"xx")
        worker.stdin.flush()
        assert worker.stdout.read(1) == b"."  # it decodes
        worker.stdin.close()
        try:
            assert worker.wait(60) < 0  # by a signal
        finally:
            worker.kill()


@posix
@pytest.mark.parametrize("ending", ["SIGKILL", "SIGTERM"])
def test_who_ends_it_from_outside_says_nothing_about_the_picture(
    process: DecodingProcess, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"import os, signal; os.kill(os.getpid(), signal.{ending})"
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", program])
    with pytest.raises(DecodingEnded, match="its decoding was ended"):
        process.prepare(PictureFile(b"x"), SMALL)


def test_wall_time_is_bounded_too(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", ENDLESS.replace("= 1", "= 1000")])
    monkeypatch.setattr(decoding_process, "WALL_SECONDS", 0.2)
    with pytest.raises(OmniLMMError, match="was ended"):
        process.prepare(PictureFile(b"x"), SMALL)


@posix
def test_memory_is_bounded(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", HUNGRY])
    with pytest.raises(InputError, match="takes more than 2 GiB of memory"):
        process.prepare(PictureFile(b"x"), SMALL)


def test_it_can_be_ended_from_another_thread(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", ENDLESS.replace("= 1", "= 1000")])
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.1):  # again and again: the first may come before the picture
            process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(OmniLMMError, match="was ended"):
            process.prepare(PictureFile(b"x"), SMALL)
    finally:
        ended.set()
        thread.join()
    monkeypatch.undo()
    process.prepare(PictureFile(encoded(Image.new("RGB", (5, 5)))), SMALL)


def test_one_that_was_ended_gets_no_further_picture(process: DecodingProcess) -> None:
    """Its client left just as its picture was done: the next one's must not fail for that."""
    good = encoded(Image.new("RGB", (5, 5)))
    for _ in range(3):
        process.prepare(PictureFile(good), SMALL)
        process.kill()
    process.prepare(PictureFile(good), SMALL)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_nothing_is_left_of_those_that_died(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", "import os; os._exit(3)"])
    before = _pipes()
    failures = []
    for _ in range(3):
        with pytest.raises(InputError) as failure:
            process.prepare(PictureFile(b"x" * 100_000), SMALL)
        failures.append(failure)  # whose traceback has the process, pipes and all
    assert _pipes() == before


def _pipes() -> int:
    entries = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(str(entry.readlink()).startswith("pipe:") for entry in entries)


def test_one_that_cannot_be_started_is_a_line(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_process, "COMMAND", ["/no/such/program"])
    with pytest.raises(OmniLMMError, match=r"can't be started \("):
        process.prepare(PictureFile(b"x"), SMALL)


def test_modules_of_the_folder_it_is_started_in_are_not_run(
    process: DecodingProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert process.prepare(PictureFile(encoded(Image.new("RGB", (5, 5)))), SMALL).pixels.shape == (1, 3, 28, 28)


@posix
def test_what_decoders_print_is_heard_by_nobody(
    process: DecodingProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    noisy = """
import os
from omnilmm_lite.picture import decoding_worker
real = decoding_worker.prepare
def loud(file, config, **options):
    os.write(1, b"libtiff says") or os.write(2, b"something")
    return real(file, config, **options)
decoding_worker.prepare = loud
decoding_worker.main()
"""
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", noisy])
    assert process.prepare(PictureFile(encoded(Image.new("RGB", (5, 5)))), SMALL).pixels.shape == (1, 3, 28, 28)
    assert capfd.readouterr() == ("", "")


PARENT = """
import time
from omnilmm_lite.picture.decoding_process import DecodingProcess
process = DecodingProcess()
process.start()
print(process._process.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_it_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        assert _lives(number)
        parent.kill()
    deadline = time.monotonic() + 30
    while _lives(number):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").split(") ")[1][0] != "Z"
    except OSError:
        return False


def test_the_largest_picture_fits_the_bounds() -> None:
    """Its file, what decoding it may take, and the process as it is: 160 MiB of addresses."""
    assert MAX_FILE_BYTES + MAX_DECODED_BYTES + 160 * 2**20 < decoding_worker.MEMORY_BYTES


def test_one_that_is_closed_starts_no_other(process: DecodingProcess) -> None:
    good = PictureFile(encoded(Image.new("RGB", (5, 5))))
    process.prepare(good, SMALL)
    process.close()
    with pytest.raises(OmniLMMError, match="as this program ends"):
        process.prepare(good, SMALL)


def test_a_mistake_of_ours_is_a_line_with_a_file(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = """
from omnilmm_lite.picture import decoding_worker
decoding_worker.prepare = lambda file, config, **options: 1 // 0
decoding_worker.main()
"""
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", wrong])
    with pytest.raises(OmniLMMError, match=r"a mistake of this program \(ZeroDivisionError") as raised:
        process.prepare(PictureFile(b"x"), SMALL)
    Path(str(raised.value).partition(", with ")[2]).unlink()


@posix
def test_large_grey_of_32_bits_takes_little_memory(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 megapixels are 100 MB; with all of it in doubles it would be ten times that."""
    frugal = """
from omnilmm_lite.picture import decoding_worker
decoding_worker.MEMORY_BYTES = 450 * 2**20
decoding_worker.main()
"""
    monkeypatch.setattr(decoding_process, "COMMAND", [sys.executable, "-c", frugal])
    file = encoded(Image.new("F", (5000, 5000), 3.0), "TIFF", compression="tiff_adobe_deflate")
    assert process.prepare(PictureFile(file), SMALL).size == (5000, 5000)


def damaged_tiff() -> bytes:
    """libtiff has something to say of it."""
    data = bytearray(encoded(Image.fromarray(skimage.data.chelsea()), "TIFF", compression="tiff_lzw"))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    return bytes(data)


def test_what_libtiff_prints_is_heard_by_nobody(process: DecodingProcess, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="damaged"):
        load_image(damaged_tiff())
    assert capfd.readouterr().err
    with pytest.raises(InputError, match="damaged"):
        process.prepare(PictureFile(damaged_tiff()), SMALL)
    assert capfd.readouterr() == ("", "")


ASKED = """
import sys
import cli
from omnilmm_lite.picture import decoding_process
decoding_process.COMMAND = [sys.executable, "-c", {code!r}]
sys.exit(cli.main({command!r}))
"""


@posix
@pytest.mark.parametrize("command", ["run", "caption"])
def test_ctrl_c_does_not_wait_for_a_decoder(command: str, tmp_path: Path) -> None:
    """It would take a thousand seconds."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(Image.new("RGB", (5, 5))))
    options = [str(folder / "a.png"), "-p", "Why?"] if command == "run" else [str(folder), "-o", str(tmp_path / "o")]
    begun = tmp_path / "begun"
    endless = ENDLESS.replace("= 1", "= 1000").replace("    while", f"    os.mkdir({str(begun)!r})\n    while")
    code = ASKED.format(code=endless, command=[command, *options])
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PYTHON, "-c", code], cwd=ROOT, text=True, **(HEED_INTERRUPTS | pipes)) as process:
        while not begun.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(1.0)  # until the model is loaded and waits for it; before that, it ends as well
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors

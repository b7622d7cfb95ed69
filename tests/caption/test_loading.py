"""Files read ahead of the model."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from PIL import Image

from omnilmm_lite.caption.loading import Need, ahead, load_picture
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.prepared_image import PreparedImage, prepare
from tests.systems import make_pipe


def all_of_it(path: str, sha256: str | None, data: bytes) -> Need:
    return Need.ANSWER


def small(file: bytes) -> PreparedImage:
    return prepare(file, VisionConfig(image_size=28))


def nothing() -> None:
    return


def test_a_picture_has_the_hash_of_its_file(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png")
    loaded = load_picture(tmp_path, "a.png", all_of_it, small)
    assert loaded.sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert loaded.picture is not None
    assert (loaded.picture.size, loaded.error, loaded.is_skipped) == ((3, 2), None, False)


def test_a_damaged_file_has_a_hash_and_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    loaded = load_picture(tmp_path, "a.png", all_of_it, small)
    assert loaded.sha256 == hashlib.sha256(b"no picture").hexdigest()
    assert loaded.picture is None
    assert str(loaded.error).startswith("picture: this is not a JPEG")


def test_what_cannot_be_read_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    make_pipe(tmp_path / "pipe.png")  # reading it would wait for ever
    for name in ("loop.png", "pipe.png", "gone.png"):
        loaded = load_picture(tmp_path, name, all_of_it, small)
        assert (loaded.sha256, loaded.picture) == (None, None)
        assert loaded.error is not None


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnilmm_lite.caption.loading.MAX_FILE_BYTES", 9)
    (tmp_path / "a.png").write_bytes(bytes(10))
    loaded = load_picture(tmp_path, "a.png", all_of_it, small)
    assert (loaded.sha256, loaded.picture) == (None, None)
    assert "larger than" in str(loaded.error)


def test_short_memory_is_no_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png")

    def fail(*arguments: object) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr("omnilmm_lite.picture.upright.to_rgb", fail)
    with pytest.raises(OmniLMMError, match=r"'a\.png': picture: the memory is not enough .* 3x2 pixels") as caught:
        load_picture(tmp_path, "a.png", all_of_it, small)
    assert not isinstance(caught.value, InputError)


def test_what_is_done_is_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    digest = hashlib.sha256(b"no picture").hexdigest()

    def need(path: str, sha256: str | None, data: bytes) -> Need:
        return Need.NOTHING if (path, sha256) in (("a.png", digest), ("gone.png", None)) else Need.ANSWER

    assert load_picture(tmp_path, "a.png", need, small).is_skipped
    assert load_picture(tmp_path, "gone.png", need, small).is_skipped


def test_one_is_made_ahead_and_no_more() -> None:
    made: list[int] = []
    second = threading.Event()

    def load(item: int) -> int:
        made.append(item)
        if item == 1:
            second.set()
        return item * item

    results = ahead(load, range(5), nothing)
    assert next(results) == 0
    assert second.wait(10)  # while the first is in use
    assert made == [0, 1]
    assert list(results) == [1, 4, 9, 16]
    assert list(ahead(load, [], nothing)) == []


def test_what_the_thread_raises_comes_in_its_turn() -> None:
    def load(item: int) -> int:
        return 6 // item

    results = ahead(load, [3, 2, 0, 1], nothing)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_leaving_early_ends_the_thread() -> None:
    results = ahead(lambda item: item, range(100), nothing)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_who_leaves_does_not_wait_for_a_picture_that_takes_for_ever() -> None:
    stopped = threading.Event()

    def load(item: int) -> int:
        if item:
            assert stopped.wait(60)
            raise OmniLMMError("its process was ended")
        return item

    results = ahead(load, range(3), stopped.set)
    assert next(results) == 0
    results.close()
    assert stopped.is_set()


def test_an_interrupt_ends_the_wait_for_a_picture() -> None:
    stopped = threading.Event()

    def load(item: int) -> int:
        interrupt.set()
        assert stopped.wait(60)
        raise OmniLMMError("its process was ended")

    interrupt = Interrupt()
    with interruptible(interrupt), pytest.raises(Interrupted):
        list(ahead(load, range(3), stopped.set))

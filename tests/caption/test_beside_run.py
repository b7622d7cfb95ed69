"""Runs that write beside pictures and into them: what is asked for once isn't asked for again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.caption.describer import Describer, skipped
from omnilmm_lite.caption.folder_run import FolderRun
from omnilmm_lite.caption.loading import Loaded
from omnilmm_lite.caption.metadata.containers import packet_of
from omnilmm_lite.caption.metadata.xmp import read_xmp
from omnilmm_lite.caption.outcome import Become, Outcome
from omnilmm_lite.caption.output import Lines, NoLines, Output, StandardOutput
from omnilmm_lite.caption.writers.embedded import EmbeddedXmp
from omnilmm_lite.caption.writers.text_file import TextFiles
from omnilmm_lite.caption.writers.writer import Caption, Writer
from omnilmm_lite.caption.writers.xmp_file import XmpFiles

TINY = Bundle.find(None).manifest.config.vision


class Asked:
    """In the model's place: says the picture's name, and remembers that it was asked."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def describe(self, pictures: Iterable[Loaded]) -> Iterator[Outcome]:
        for loaded in pictures:
            if loaded.is_skipped:
                yield skipped(loaded)
                continue
            line: dict[str, Any] = {"path": loaded.path, "sha256": loaded.sha256}
            if loaded.picture is None:
                yield Outcome(loaded.path, {**line, "error": loaded.error}, become=Become.FAILED)
                continue
            self.paths.append(loaded.path)
            caption = Caption(f"This is {loaded.path}")
            yield Outcome(loaded.path, {**line, "text": caption.text}, caption, loaded.sha256, Become.DESCRIBED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.jpg", "green"), ("c.gif", "blue")):
        Image.new("RGB", (8, 8), colour).save(folder / name)
    return folder


def run(folder: Path, lines: Lines, *writers: Writer) -> tuple[list[str], list[Outcome]]:
    """Whom the model was asked about, and what became of them."""
    asked = Asked()
    paths = sorted(path.name for path in folder.glob("*.[pjg][nip]*") if not path.name.endswith("_original"))
    job = FolderRun(folder, [paths], lines, TINY, lambda: cast(Describer, asked), writers)
    return asked.paths, list(job.run())


def become(outcomes: list[Outcome]) -> list[str]:
    return [outcome.become.name for outcome in outcomes]


def test_texts_alone_are_gone_on_with_by_what_is_there(folder: Path) -> None:
    (folder / "b.txt").write_text("mine", encoding="utf-8")
    asked, outcomes = run(folder, NoLines(), TextFiles(folder))
    assert (asked, become(outcomes)) == (["a.png", "c.gif"], ["DESCRIBED", "KEPT", "DESCRIBED"])
    assert (folder / "b.txt").read_text(encoding="utf-8") == "mine"
    assert (folder / "c.txt").read_text(encoding="utf-8") == "This is c.gif\n"
    assert run(folder, NoLines(), TextFiles(folder))[0] == []
    assert run(folder, NoLines(), TextFiles(folder, overwrite=True))[0] == ["a.png", "b.jpg", "c.gif"]


def test_what_a_file_of_lines_knows_is_written_without_asking(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run(folder, Output(out, {}), *[])[0] == ["a.png", "b.jpg", "c.gif"]
    before = out.read_bytes()
    writers = TextFiles(folder), XmpFiles(folder)
    asked, outcomes = run(folder, Output(out, {}, keep_lines=True), *writers)
    assert (asked, become(outcomes)) == ([], ["WRITTEN"] * 3)
    assert (folder / "a.txt").read_text(encoding="utf-8") == "This is a.png\n"
    assert read_xmp((folder / "a.xmp").read_bytes()).description == "This is a.png"
    (folder / "b.txt").unlink()
    assert become(run(folder, Output(out, {}, keep_lines=True), *writers)[1]) == ["HAD", "WRITTEN", "HAD"]
    assert out.read_bytes() == before


def test_a_picture_that_was_written_into_is_known_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asked, outcomes = run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder))
    assert (asked, become(outcomes)) == (["a.png", "b.jpg", "c.gif"], ["DESCRIBED", "DESCRIBED", "UNWRITTEN"])
    assert "GIF" in outcomes[2].problem and outcomes[2].line is not None and outcomes[2].line["text"] == "This is c.gif"
    data = (folder / "a.png").read_bytes()
    assert read_xmp(packet_of(data) or b"").description == "This is a.png"
    assert outcomes[0].line is not None
    assert outcomes[0].line["embedded_sha256"] == hashlib.sha256(data).hexdigest() != outcomes[0].line["sha256"]
    before = out.read_bytes()
    for overwrite in (False, True):
        again = run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder, overwrite=overwrite))
        assert again[0] == [] and out.read_bytes() == before
    assert (folder / "a.png").read_bytes() == data


def test_a_picture_that_was_written_into_later_is_known_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(folder, Output(out, {}), *[])
    asked, outcomes = run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder))
    assert (asked, become(outcomes)) == ([], ["WRITTEN", "WRITTEN", "HAD"])
    assert outcomes[0].line is not None and outcomes[0].line["text"] == "This is a.png"
    before = out.read_bytes()
    assert run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder))[0] == []
    assert out.read_bytes() == before


def test_a_kill_between_the_picture_and_its_line_ends_well(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder))
    whole, pictures = out.read_bytes().splitlines(keepends=True), (folder / "a.png").read_bytes()
    out.write_bytes(whole[0][:20])  # the first line was half written when the power went
    asked, _ = run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder))
    assert asked == ["a.png", "b.jpg", "c.gif"]
    assert (folder / "a.png").read_bytes() == pictures  # its description was there
    assert run(folder, Output(out, {}, keep_lines=True), EmbeddedXmp(folder))[0] == []


def test_without_lines_what_cannot_be_written_is_not_asked_about(folder: Path) -> None:
    asked, outcomes = run(folder, NoLines(), EmbeddedXmp(folder))
    assert asked == ["a.png", "b.jpg"] and become(outcomes)[2] == "UNWRITTEN"
    assert "nothing is written into GIF" in outcomes[2].problem
    assert run(folder, NoLines(), TextFiles(folder), EmbeddedXmp(folder))[0] == ["a.png", "b.jpg", "c.gif"]


def test_without_lines_what_cannot_be_read_loads_no_model(folder: Path) -> None:
    run(folder, NoLines(), TextFiles(folder))
    (folder / "b.jpg").write_bytes(b"no picture")
    (folder / "b.txt").unlink()
    job = FolderRun(folder, [["a.png", "b.jpg"]], NoLines(), TINY, lambda: pytest.fail("loaded"), [TextFiles(folder)])
    outcomes = list(job.run())
    assert become(outcomes) == ["KEPT", "FAILED"] and "this is not a JPEG" in str(outcomes[1].error)


@pytest.mark.parametrize(
    "lines", [lambda out: NoLines(), lambda out: StandardOutput(), lambda out: Output(out, {}, keep_lines=True)]
)
def test_what_a_watch_has_written_into_a_picture_is_no_change_to_describe(
    folder: Path, lines: Callable[[Path], Lines], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Else it would be asked about, and written, without end."""
    asked, is_written = Asked(), threading.Event()

    def rounds() -> Iterator[list[str]]:
        yield ["a.png"]
        is_written.wait()
        yield from [["a.png"]] * 2

    output = lines(tmp_path / "out.jsonl")
    writer = EmbeddedXmp(folder, overwrite=True)
    job = FolderRun(folder, rounds(), output, TINY, lambda: cast(Describer, asked), [writer])
    outcomes = job.run()
    assert next(outcomes).become is Become.DESCRIBED
    is_written.set()
    again = "WRITTEN" if isinstance(output, Output) else "HAD"  # what is known is written again, and is the same
    assert become(list(outcomes)) == [again] * 2 and asked.paths == ["a.png"]
    assert not isinstance(output, Output) or output.path.read_bytes().count(b"\n") == 1
    assert capfdbinary.readouterr().out.count(b"\n") == (type(output) is StandardOutput)


def test_a_picture_that_goes_away_meanwhile_stops_nothing(folder: Path) -> None:
    class Removing(Asked):
        def describe(self, pictures: Iterable[Loaded]) -> Iterator[Outcome]:
            for outcome in super().describe(pictures):
                (folder / outcome.path).rename(folder / f"renamed {outcome.path}")
                yield outcome

    asked = Removing()
    job = FolderRun(
        folder, [["a.png", "b.jpg"]], NoLines(), TINY, lambda: cast(Describer, asked), [EmbeddedXmp(folder)]
    )
    outcomes = list(job.run())
    assert become(outcomes) == ["UNWRITTEN"] * 2
    assert "moved or removed meanwhile" in outcomes[0].problem

"""The tower's work folder: being killed on the way, other arguments, an older format, the room that it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.checkpoint.checkpoint import Checkpoint
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.config import VisionConfig
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.durable_file import remove_unfinished
from omnilmm_lite.plan.disk import tower_work
from quantize.disk import TOWER
from quantize.tower import quantizer
from quantize.tower.quantizer import check_tower, quantize_tower
from tests.conftest import Quiet
from tests.files.killed import NEVER, Killed, killed_after
from tests.small_checkpoint import TINY, Form, write_checkpoint

CONFIG = TINY.vision


class Interrupting:
    """Progress that is interrupted at its `at`-th step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def stage(self, name: str, steps: int) -> None: ...

    def step(self, line: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / TOWER).iterdir())}


def test_a_killed_run_is_taken_up_and_ends_with_the_same_bytes(
    tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path
) -> None:
    _, whole = quantize_tower(tiny_checkpoint, pictures, tmp_path / "whole", Quiet())
    for at in range(1, 2 * CONFIG.num_hidden_layers + 1):
        with pytest.raises(KeyboardInterrupt):
            quantize_tower(tiny_checkpoint, pictures, tmp_path / "killed", Interrupting(at))
    _, report = quantize_tower(tiny_checkpoint, pictures, tmp_path / "killed", Quiet())
    assert report == whole
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    names = set(contents(tmp_path / "whole"))
    assert not any(name.startswith(("statistics", "states")) for name in names)  # gigabytes that nobody needs again


@pytest.mark.usefixtures("one_thread")
def test_a_kill_between_any_two_steps_on_the_disk_is_no_damage(
    tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path
) -> None:
    """Not between a file's checksum and the file either; and nothing is left behind."""
    with killed_after(NEVER, tmp_path / "whole") as steps:
        quantize_tower(tiny_checkpoint, pictures, tmp_path / "whole", Quiet())
    lines: list[str] = []
    for last in range(steps.done):
        work = tmp_path / str(last)
        with pytest.raises(Killed), killed_after(last, work):
            quantize_tower(tiny_checkpoint, pictures, work, Quiet())
        remove_unfinished(work)
        quantize_tower(tiny_checkpoint, pictures, work, Quiet(), on_repair=lines.append)
        assert contents(work) == contents(tmp_path / "whole"), last
    assert lines == []


@pytest.mark.parametrize(
    ("at", "name"),
    [(1, "statistics-000"), (1, "states"), (2, "divisors"), (3, "block-000"), (3, "statistics-001"), (4, "block-001")],
)
def test_a_damaged_file_is_made_again_and_said(
    at: int, name: str, tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path
) -> None:
    """One bit of one byte, in a run that was interrupted at its `at`-th step."""
    quantize_tower(tiny_checkpoint, pictures, tmp_path / "whole", Quiet())
    with pytest.raises(KeyboardInterrupt):
        quantize_tower(tiny_checkpoint, pictures, tmp_path / "killed", Interrupting(at))
    if name == "divisors":  # written behind the second step, or before the third
        with pytest.raises(KeyboardInterrupt):
            quantize_tower(tiny_checkpoint, pictures, tmp_path / "killed", Interrupting(3))
    file = tmp_path / "killed" / TOWER / f"{name}.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    lines: list[str] = []
    quantize_tower(tiny_checkpoint, pictures, tmp_path / "killed", Quiet(), on_repair=lines.append)
    assert lines == [f"{file}: the file is damaged; making it again"]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_other_pictures_and_other_checkpoints_are_refused(
    tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path
) -> None:
    quantize_tower(tiny_checkpoint, pictures, tmp_path, Quiet())
    with pytest.raises(InputError, match="calibration: other data"):
        quantize_tower(tiny_checkpoint, pictures[:1], tmp_path, Quiet())
    other = Checkpoint.open(write_checkpoint(tmp_path / "other", form=Form.BIN, size=TINY, seed=1))
    with pytest.raises(InputError, match="checkpoint: other data"):
        quantize_tower(other, pictures, tmp_path, Quiet())
    with pytest.raises(InputError, match="checkpoint: other data"):  # before the decoder is quantized
        check_tower(other, PRESETS["cpu"], None, tmp_path)
    check_tower(other, PRESETS["24gb"], None, tmp_path)
    check_tower(other, PRESETS["cpu"], None, tmp_path / "new")


def test_a_small_disk_is_said_before_any_work(
    tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizer, "tower_work", lambda *_: 10**18)
    with pytest.raises(OmniLMMError, match=r"needs 1,000,000,000\.0 GB there"):
        quantize_tower(tiny_checkpoint, pictures, tmp_path, Quiet())
    assert list(contents(tmp_path)) == ["arguments.json"]


def test_the_room_that_is_announced_suffices(tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path) -> None:
    largest = 0

    class Watching(Quiet):
        def step(self, line: str) -> None:
            nonlocal largest
            largest = max(largest, sum(map(len, contents(tmp_path).values())))

    quantize_tower(tiny_checkpoint, pictures, tmp_path, Watching())
    headers = 16 * 1024  # JSON and safetensors headers, which count at this size only
    assert 0.4 * tower_work(CONFIG, 2) < largest < tower_work(CONFIG, 2) + headers
    full = tower_work(VisionConfig(), 8)
    assert 4e9 < full < 5e9  # 4.3 GB of codes at OmniLMM-12B's size


def test_a_tower_of_an_older_format_is_made_again(
    tiny_checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path
) -> None:
    """Its codes overflow on some processors. Other pictures and a format that isn't known are refused as ever."""
    quantize_tower(tiny_checkpoint, pictures, tmp_path, Quiet())
    whole = contents(tmp_path)
    arguments = tmp_path / TOWER / "arguments.json"

    def make_old(work_format: int) -> None:
        arguments.write_text(json.dumps(json.loads(arguments.read_text()) | {"work_format": work_format}))
        for block in (tmp_path / TOWER).glob("block-*.safetensors"):
            block.write_bytes(b"codes that overflow")

    make_old(2)
    check_tower(tiny_checkpoint, PRESETS["cpu"], pictures[0].parent, tmp_path)
    with pytest.raises(InputError, match="calibration: other data"):
        quantize_tower(tiny_checkpoint, pictures[:1], tmp_path, Quiet())
    with pytest.raises(KeyboardInterrupt):
        quantize_tower(tiny_checkpoint, pictures, tmp_path, Interrupting(3))
    quantize_tower(tiny_checkpoint, pictures, tmp_path, Quiet())
    assert contents(tmp_path) == whole
    make_old(4)
    with pytest.raises(InputError, match="work_format: 4 there, 3 here"):
        quantize_tower(tiny_checkpoint, pictures, tmp_path, Quiet())

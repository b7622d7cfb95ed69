"""A pipe, a folder or a device in the place of any of a checkpoint's files: one line, and nothing waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_header import read_header
from export.checkpoint.tensor_file import open_tensor_file
from export.checkpoint.tokenizer import convert_tokenizer
from export.checkpoint.torch_file import read_places
from omnilmm_lite.errors import InputError
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import stored_tensors
from tests.small_checkpoint import TINY, Form, write_checkpoint
from tests.systems import make_pipe


@pytest.fixture(scope="module", params=[Form.SHARDED_BIN, Form.SAFETENSORS], ids=lambda form: form.name)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("whole") / "checkpoint", form=request.param, size=TINY)


def test_no_file_of_a_checkpoint_is_waited_for(checkpoint: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in checkpoint.iterdir())
    needed = 0
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        for other in names:
            if other != name:
                (folder / other).hardlink_to(checkpoint / other)
        make_pipe(folder / name)
        try:
            opened = Checkpoint.open(folder)
            convert_tokenizer(folder, opened.config.tokens)
        except InputError as error:
            assert "\n" not in str(error)
            needed += 1
    assert needed >= 4  # the config, the tokenizer, the index, the shards


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_tensors_are_read_of_files_alone(tmp_path: Path, name: str) -> None:
    make_pipe(tmp_path / name)
    (tmp_path / f"null-{name}").symlink_to(os.devnull)
    for read in (open_tensor_file, read_header, read_places, stored_tensors):
        for path, kind in ((tmp_path / name, "a named pipe"), (tmp_path / f"null-{name}", "a device")):
            with pytest.raises(InputError, match=f"{path.name}: this is {kind}, where a file is needed"):
                read(path)


def test_a_gptq_folder_of_pipes_is_refused(tmp_path: Path) -> None:
    make_pipe(tmp_path / "config.json")
    with pytest.raises(InputError, match=r"config\.json: this is a named pipe"):
        read_gptq_folder(tmp_path, TINY.decoder)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "gptq", "bits": 4}}')
    make_pipe(tmp_path / "gptq.safetensors")
    with pytest.raises(InputError, match=r"gptq\.safetensors: this is a named pipe"):
        read_gptq_folder(tmp_path, TINY.decoder)

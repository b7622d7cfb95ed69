"""A Hugging Face folder of OmniLMM weights, read tensor by tensor.

Four forms: one file or shards with an index, each as safetensors or as torch's pickle. Opening reads headers only and
checks the whole key set against config.json, so that nothing starts that can't be finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.checkpoint.hf_config import model_config, read_config
from export.checkpoint.tensor_file import TensorFile, open_tensor_file
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.files.lookup import is_file
from omnilmm_lite.files.printable import printable
from omnilmm_lite.keys import LISTED, Shape, expected_keys, key_mismatch

# transformers' order of preference where a folder holds several forms.
SINGLE_AND_INDEX = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)

TOKENIZER_FILES = ("tokenizer.model", "added_tokens.json", "tokenizer_config.json")

Module = TypeVar("Module", bound=nn.Module)

CHUNK = 1 << 20
SAMPLES = 64  # of SAMPLE_BYTES each, spread evenly over a file
SAMPLE_BYTES = 4096


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened checkpoint; its key set is complete and fits `config`."""

    folder: Path
    config: OmniLMMConfig
    files: tuple[Path, ...]  # config.json, the tokenizer's and the index as far as they exist, the weights
    _holders: Mapping[str, TensorFile] = field(repr=False)  # of the model's tensors; extras are left out
    _shapes: Mapping[str, Shape] = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> Checkpoint:
        """Reads config.json and all headers; InputError for everything that would keep the weights from being used."""
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; give the one with config.json and the weights")
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} has no config.json; give the checkpoint's folder, as downloaded")
        fields = read_config(folder)
        index, holders = _locate(folder)
        found = {name: file.shapes[name] for name, file in holders.items()}
        config = model_config(folder, fields, found)
        shapes = expected_keys(config)
        if mismatch := key_mismatch(found, shapes):
            raise InputError(f"{folder}: its weights don't fit its config.json: {mismatch}")
        weights = dict.fromkeys(file.path for file in holders.values())
        tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
        files = (folder / "config.json", *tokenizer, *([index] if index else []), *weights)
        return cls(folder, config, files, {name: holders[name] for name in shapes}, shapes)

    def keys(self) -> Iterable[str]:
        """The model's tensors: the decoder's, the resampler's, the tower's."""
        return self._shapes.keys()

    def shape(self, name: str) -> Shape:
        """Known since opening: reads nothing. KeyError for an unknown name."""
        return self._shapes[name]

    def tensor(self, name: str) -> Tensor:
        """A mapped tensor in the file's dtype; take a copy to change or to keep it. KeyError for an unknown name."""
        return self._holders[name].tensor(name)

    def array(self, name: str) -> NDArray[np.float32]:
        """A copy as float32. KeyError for an unknown name."""
        array: NDArray[np.float32] = self.tensor(name).to(torch.float32, copy=True).numpy()
        return array

    def module(self, module: Module, prefix: str) -> Module:
        """Fills a reference module, which may be on the meta device, with float32 copies of the keys below `prefix`.

        `prefix` is the module's place in the checkpoint, such as "model.layers.0", or "" for the whole model.
        InputError, naming them, if the checkpoint lacks any of the module's tensors or has them in other shapes.
        """
        start = f"{prefix.removesuffix('.')}." if prefix else ""
        wanted = {start + name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        found = {name: self._shapes[name] for name in wanted if name in self._shapes}
        if mismatch := key_mismatch(found, wanted):
            raise InputError(f"{self.folder} can't fill {type(module).__name__} at '{printable(prefix)}': {mismatch}")
        state = {name.removeprefix(start): self.tensor(name).to(torch.float32, copy=True) for name in wanted}
        module.load_state_dict(state, assign=True)
        return module

    def fingerprint(self) -> str:
        """A cheap identity (hex) for caches and resuming: it reads about 2 MB a file, not the weights.

        It covers the config, names, sizes, each file's first and last MB and samples between. The first MB holds a
        safetensors header, the last a pickle's zip directory, which has the CRC-32 of every tensor. Against accidents,
        not against forgery: the manifest's hashes are for that.
        """
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for path in self.files:
            size = path.stat().st_size
            digest.update(json.dumps([path.name, size]).encode())
            samples = [(size * index // SAMPLES, SAMPLE_BYTES) for index in range(SAMPLES)]
            with path.open("rb") as file:
                for start, length in [(0, CHUNK), (max(0, size - CHUNK), CHUNK), *samples]:
                    file.seek(start)
                    digest.update(file.read(length))
        return digest.hexdigest()


def _locate(folder: Path) -> tuple[Path | None, dict[str, TensorFile]]:
    """The index, if the folder has one, and which file holds each tensor."""
    for single, index in SINGLE_AND_INDEX:
        if (folder / single).is_file():
            file = open_tensor_file(folder / single)
            return None, dict.fromkeys(file.shapes, file)
        if (folder / index).is_file():
            return folder / index, _locate_shards(folder, folder / index)
    names = ", ".join(name for pair in SINGLE_AND_INDEX for name in pair)
    raise InputError(f"{folder} has no weights: none of {names} is there; download the whole checkpoint")


def _locate_shards(folder: Path, index: Path) -> dict[str, TensorFile]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise InputError(f"{index} has no weight_map from tensors to files; download it again")
    shards = sorted(set(weight_map.values()))
    suffix = index.name.removesuffix(".index.json").rpartition(".")[2]
    for shard in shards:
        # Shards stand beside their index; a path could make us open any file of this machine.
        if not {*"/\\:\0"}.isdisjoint(shard) or not shard.endswith(f".{suffix}"):
            raise InputError(f"{index} names the shard {printable(shard)}; a .{suffix} file beside it is needed")
    if absent := [printable(shard) for shard in shards if not is_file(folder / shard)]:
        shown = ", ".join(absent[:LISTED]) + (f" and {len(absent) - LISTED} more" if len(absent) > LISTED else "")
        raise InputError(f"{index}: {len(absent)} of its {len(shards)} shards are absent ({shown}); download them")
    files = {shard: open_tensor_file(folder / shard) for shard in shards}
    for name, shard in weight_map.items():
        if name not in files[shard].shapes:
            where = f"{printable(name)} in {printable(shard)}"
            raise InputError(f"{index} places {where}, which doesn't hold it; download both again")
    return {name: files[shard] for name, shard in weight_map.items()}

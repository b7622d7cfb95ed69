"""A synthetic checkpoint with OmniLMM-12B's exact names, shapes and dtypes: `python -m benchmarks.make_checkpoint OUT`.

Its answers mean nothing; what converting and running it takes is the real model's. No two weights are alike, a few
channels of the residual streams are loud, as in trained models, and scales keep attention neither flat nor one-hot
through all layers. One tensor is in memory at a time. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.full_width import sized
from export.checkpoint.torch_file import read_places
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.console import ConsoleProgress
from omnilmm_lite.files.durable_file import durable_folder
from tests.small_checkpoint import Form, config_json, sincos_table, tensor_shapes, write_json, write_tokenizer

Shape = tuple[int, ...]

SHARD_BYTES = 5 << 30  # five shards for the whole model, as openbmb/RLAIF-V-12B has
LOUD_CHANNELS = 6
LOUDNESS = 8.0  # of those, against the rest
BRANCH = 0.15  # what a tower's block adds to its stream, twice, against the embedding's 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; the whole model takes 23.2 GB")
    parser.add_argument("--bin", action="store_true", help="one pytorch_model.bin instead of safetensors shards")
    parser.add_argument("--layers", type=int, default=32, help="of the decoder")
    parser.add_argument("--blocks", type=int, default=63, help="of the vision tower")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.out, sized(args.layers, args.blocks), Form.BIN if args.bin else Form.SAFETENSORS, args.seed)


def write(out: Path, config: OmniLMMConfig, form: Form, seed: int) -> None:
    """`out` appears when it is whole."""
    tensors = dict(tensor_shapes(config))
    with durable_folder(out) as folder, ConsoleProgress() as progress:
        published = config == OmniLMMConfig()  # whose config.json doesn't describe the tower
        write_json(folder / "config.json", config_json(config, form, vision_config=not published))
        write_tokenizer(folder, form)
        progress.stage("weights", len(tensors))
        lines = _write_bin if form is Form.BIN else _write_safetensors
        for line in lines(folder, tensors, config, seed):
            progress.step(line)


# ---- the weights ----


def draw(name: str, shape: Shape, config: OmniLMMConfig, seed: int) -> Tensor:
    """One tensor, bfloat16, whatever was drawn before it."""
    generator = torch.Generator().manual_seed((seed << 32) + zlib.crc32(name.encode()))
    if name.endswith("resampler.pos_embed"):
        values = torch.from_numpy(sincos_table(math.isqrt(shape[0]), shape[1]))
        return (values + 0.3 * torch.randn(shape, generator=generator)).bfloat16()
    values = torch.randn(shape, generator=generator)
    if "vision_tower" in name:
        _scale_tower(name, values, config)
    elif "norm" in name or ".ln_" in name:
        values.mul_(0.1).add_(1)
    elif name.endswith("bias"):
        values.mul_(0.1)
    elif name == "model.embed_tokens.weight":
        values[:, _loud_channels(shape[1])] *= LOUDNESS
    elif len(shape) == 2 and not name.endswith("query"):
        gain = 3.0 if name.startswith("lm_head") else 1.0  # clear favourites among the logits
        values.mul_(gain / math.sqrt(shape[1]))
        if name.endswith(("o_proj.weight", "down_proj.weight")):  # rows that feed loud channels
            values[_loud_channels(shape[0])] *= LOUDNESS
    return values.bfloat16()


def _scale_tower(name: str, values: Tensor, config: OmniLMMConfig) -> None:
    """In place. The stream is never normalised and grows with the square root of the blocks; what reads it is scaled
    down by as much, so that attention's scores keep a deviation of about 1."""
    if "norm1.weight" in name or "norm2.weight" in name:
        values.mul_(0.1).add_(1).mul_(BRANCH)
        values[_loud_channels(len(values))] *= LOUDNESS
    elif name.endswith("norm.weight"):
        values.mul_(0.1).add_(1)
    elif "norm" in name or name.endswith("bias"):
        values.mul_(0.1 * BRANCH)
    elif "blocks." in name:
        block = int(name.partition("blocks.")[2].partition(".")[0])
        gain = 1 / math.sqrt(values.shape[1])
        if name.endswith(("qkv.weight", "fc1.weight")):
            width = config.vision.hidden_size
            loud = 1 + LOUD_CHANNELS / width * LOUDNESS**2
            gain /= math.sqrt(1 + 2 * block * BRANCH**2 * loud)
        values.mul_(gain)
    elif name.endswith("proj.weight"):
        values.mul_(1 / math.sqrt(values[0].numel()))


def _loud_channels(width: int) -> Tensor:
    """The same ones in all layers: a residual stream's."""
    return torch.randperm(width, generator=torch.Generator().manual_seed(width))[:LOUD_CHANNELS]


# ---- the files ----


def _write_safetensors(folder: Path, tensors: dict[str, Shape], config: OmniLMMConfig, seed: int) -> Iterator[str]:
    """The format's header is eight bytes of length and a JSON object; the data follows in its order."""
    shards = _shards(tensors)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = folder / f"model-{number:05}-of-{len(shards):05}.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name in names:
            end = offset + 2 * math.prod(tensors[name])
            header[name] = {"dtype": "BF16", "shape": tensors[name], "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with file.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                stream.write(draw(name, tensors[name], config, seed).view(torch.uint8).numpy().data)
                yield name
        weight_map |= dict.fromkeys(names, file.name)
    total = sum(2 * math.prod(shape) for shape in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def _shards(tensors: dict[str, Shape]) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, shape in tensors.items():
        size += 2 * math.prod(shape)
        if size > SHARD_BYTES:
            shards.append([])
            size = 2 * math.prod(shape)
        shards[-1].append(name)
    return shards


def _write_bin(folder: Path, tensors: dict[str, Shape], config: OmniLMMConfig, seed: int) -> Iterator[str]:
    """torch lays the file out without any data, which is then drawn into it."""
    path = folder / "pytorch_model.bin"
    with FakeTensorMode(), torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save({name: torch.empty(shape, dtype=torch.bfloat16) for name, shape in tensors.items()}, path)
    places = read_places(path)
    with path.open("r+b") as file:
        for name, shape in tensors.items():
            file.seek(places[name].start)
            file.write(draw(name, shape, config, seed).view(torch.uint8).numpy().data)
            yield name


if __name__ == "__main__":
    main()

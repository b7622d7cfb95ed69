"""What answers from a checkpoint take at the full size: `python -m benchmarks.torch_engine --work FOLDER`.

All 32 layers and 63 blocks are loaded and run. On the disk lie two of each, and every other one is one of these two by
another name: memory is that of the whole model, its answers are not. Kept layers are links to two likewise; the last
one is quantized, beside all others. It needs 3 GB of disk. Each line is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.full_width import sized
from omnilmm_lite.files.checked_file import checksum_path
from omnilmm_lite.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from export.checkpoint.checkpoint import Checkpoint

Result = TypeVar("Result")

ON_DISK = 2  # layers, and blocks
PROMPT = 300  # tokens: a picture's 256 and a question
STEPS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="for the checkpoint and kept layers")
    words = [weights.value for weights in Weights]
    parser.add_argument("--weights", nargs="+", choices=words, default=["nf4"], help="(default: nf4)")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=63)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_measure(args)))
        return
    slim = args.work / "slim"
    if not slim.is_dir():
        from benchmarks.make_checkpoint import write
        from tests.small_checkpoint import Form

        write(slim, sized(ON_DISK, ON_DISK), Form.SAFETENSORS, seed=0)
    for word in args.weights:
        if Weights(word).is_quantized:
            _keep_all_but_the_last(args, word)
        for start in ("first start", "second start")[: 2 if Weights(word).is_quantized else 1]:
            done = subprocess.run(_child(args, word), check=True, stdout=subprocess.PIPE, text=True)
            print(json.dumps({"weights": word, "start": start} | json.loads(done.stdout)), flush=True)


def _child(args: argparse.Namespace, word: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.torch_engine", "--child", "--work", str(args.work), "--weights", word]
    return [*command, "--layers", str(args.layers), "--blocks", str(args.blocks), "--threads", str(args.threads)]


def _keep_all_but_the_last(args: argparse.Namespace, word: str) -> None:
    """Quantizes the layers that are on the disk, and gives what is kept of them to all others but the last: so the
    first start quantizes one layer, beside all others."""
    folder: Path = args.work / f"slim.{word}"

    def file(index: int) -> Path:
        return folder / f"layer-{index:03}.safetensors"

    file(args.layers - 1).unlink(missing_ok=True)
    if not file(ON_DISK).is_file():
        started, child = time.perf_counter(), subprocess.Popen(_child(args, word), stdout=subprocess.DEVNULL)
        while child.poll() is None and not file(ON_DISK).is_file():
            time.sleep(0.1)
        child.kill()
        child.wait()
        print(json.dumps({"weights": word, "seconds_for_three_layers": round(time.perf_counter() - started)}))
    for index in range(ON_DISK, args.layers - 1):
        for one in (file(index), checksum_path(file(index))):
            one.unlink(missing_ok=True)
            one.hardlink_to(checksum_path(file(index % ON_DISK)) if one.suffix == ".sha256" else file(index % ON_DISK))


def _measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds and GB; `steps` are STEPS tokens."""
    import numpy as np

    from export.checkpoint.checkpoint import Checkpoint
    from export.torch_model import CheckpointSource
    from omnilmm_lite.machine.memory import peak_rss_bytes
    from omnilmm_lite.model_source import MachineOptions

    options = MachineOptions(device="cpu", context=4096, threads=args.threads, drafts=False, cuda_graph=False)
    checkpoint = _stretched(Checkpoint.open(args.work / "slim"), args.layers, args.blocks)
    found: dict[str, float] = {}

    def timed(what: str, work: Callable[[], Result]) -> Result:
        """By the clock, and what the processor spent, which other programs on the machine change less."""
        started, spent = time.perf_counter(), time.process_time()
        result = work()
        found[f"{what}_s"] = round(time.perf_counter() - started, 3)
        found[f"{what}_cpu_s"] = round(time.process_time() - spent, 3)
        found[f"{what}_peak_gb"] = round((peak_rss_bytes() or 0) / 1e9, 2)
        return result

    model = timed("load", lambda: CheckpointSource(checkpoint, Weights(args.weights[0])).load(options))
    ids = list(range(100, 100 + PROMPT))
    decoder, rows = model.text.decoder, model.text.embed(ids, None)
    timed("prompt", lambda: decoder.prefill(ids, rows))
    timed("steps", lambda: [decoder.decode(token, rows[:1]) for token in range(STEPS)])
    size = checkpoint.config.vision.image_size
    pixels = np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)
    timed("picture", lambda: model.parts.open_tower()(pixels))
    return found


def _stretched(slim: Checkpoint, layers: int, blocks: int) -> Checkpoint:
    """The checkpoint with as many layers and blocks, in turns those that it has."""
    from export.checkpoint.tensor_file import TensorFile
    from omnilmm_lite.keys import expected_keys

    config = sized(layers, blocks)
    shapes = expected_keys(config)

    def read(name: str) -> Tensor:
        return slim.tensor(re.sub(r"(layers|blocks)\.(\d+)", lambda m: f"{m[1]}.{int(m[2]) % ON_DISK}", name))

    whole = TensorFile(slim.files[-1], shapes, read)
    return replace(slim, config=config, _holders=dict.fromkeys(shapes, whole), _shapes=shapes)


if __name__ == "__main__":
    main()

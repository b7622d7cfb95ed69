"""The largest numbers that a model meets on calibration data: what a card's graphs, in fp16, have to hold.

All calibration pictures go through the reference's tower and resampler, and a few sequences through its decoder, one
block or layer in memory at a time. A run that was killed goes on at the block or layer where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_checked_tensors
from export.checkpoint.tokenizer import convert_tokenizer
from export.reference.activation_ranges import RESAMPLER, TOWER, ActivationRanges, parse_largest
from export.reference.layerwise import load_module
from export.reference.model import (
    DecoderLayer,
    Resampler,
    RMSNorm,
    VisionBlock,
    VisionTower,
    causal_mask,
    rope_tables,
)
from export.reference.pictures import picture_batches, stack_pixels
from export.reference.range_observer import RangeObserver
from export.torch_device import TorchDevice
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.checked_file import is_sound, remove_checked
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.picture.reading import load_image, pixel_hash
from omnilmm_lite.progress import Progress
from omnilmm_lite.text.tokenizer import Tokenizer
from quantize.calibration.token_sequences import CalibrationLimits, TokenSequence, read_sequences
from quantize.disk import full_disk_said
from quantize.tower.pictures import calibration_pictures

FORMAT = 1  # raise it when the same arguments come to give other ranges
MOST_SEQUENCES = 16  # through the decoder
REMOVE = "remove the file: it is made again"
RESULT = "ranges.json"  # in the work folder
LARGEST = "largest.json"  # so far, in the folder of an unfinished run

Item = TypeVar("Item")


@dataclass(frozen=True)
class RangeData:
    """What is run through the model. Sequences have no other pictures than these."""

    pictures: Sequence[Path]
    sequences: Sequence[TokenSequence]

    @classmethod
    def read(cls, checkpoint: Checkpoint, source: Path | None, limits: CalibrationLimits) -> RangeData:
        """`source` and `limits`: the decoder's calibration. Half of the sequences have pictures, as far as there are
        such; where the data has none, the built-in ones stand in, as they do in the tower's calibration."""
        pictures = calibration_pictures(source)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            path.write_text(convert_tokenizer(checkpoint.folder, checkpoint.config.tokens).to_str(), encoding="utf-8")
            tokenizer = Tokenizer(path)
        found = read_sequences(source, tokenizer, checkpoint.config, limits)
        if all(sequence.image is None for sequence in found):
            found += read_sequences(None, tokenizer, checkpoint.config, CalibrationLimits())
        shown = [sequence for sequence in found if sequence.image in pictures]
        text = [sequence for sequence in found if sequence.image is None]
        count = max(MOST_SEQUENCES // 2, MOST_SEQUENCES - len(text))
        shown = _spread(shown, count)
        return cls(pictures, shown + _spread(text, MOST_SEQUENCES - len(shown)))

    def fingerprint(self, checkpoint: Checkpoint) -> str:
        """Stands for all that the ranges depend on."""
        hashes = {picture: pixel_hash(load_image(picture)) for picture in self.pictures}
        sequences = [(sequence.ids, sequence.image and hashes[sequence.image]) for sequence in self.sequences]
        text = json.dumps([FORMAT, checkpoint.fingerprint(), list(hashes.values()), sequences])
        return hashlib.sha256(text.encode()).hexdigest()


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of them at most, evenly spaced."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)


def measure_ranges(
    checkpoint: Checkpoint, data: RangeData, work_dir: Path, progress: Progress, device: TorchDevice
) -> ActivationRanges:
    """Measured, or read from `work_dir`, where an earlier run with the same data has left them.

    InputError where the checkpoint's own numbers are infinite; OmniLMMError where the disk or the card is full.
    """
    file, fingerprint = work_dir / RESULT, data.fingerprint(checkpoint)
    if file.is_file() and (found := read_json(file, REMOVE)).get("fingerprint") == fingerprint:
        return ActivationRanges.from_dict(found, str(file))
    folder = work_dir / f"ranges-{fingerprint[:16]}"
    for other in work_dir.glob("ranges-*"):
        if other != folder and other.is_dir():
            shutil.rmtree(other)  # of other data, and not finished
    folder.mkdir(parents=True, exist_ok=True)
    with full_disk_said(folder), device.full_memory_said("the model's largest numbers"), torch.inference_mode():
        run = _RangeRun(checkpoint, folder, progress, device.device)
        run.measure_tower(data)
        tokens = run.measure_decoder(data)
        ranges = ActivationRanges(run.observer.largest, len(data.pictures), len(data.sequences), tokens)
        write_json(file, {"fingerprint": fingerprint, **ranges.to_dict()})
    shutil.rmtree(folder)
    return ranges


def _seen_before(folder: Path) -> dict[str, float]:
    """What an earlier run has written down. Where that is lost, so is what it was seen on: passed blocks and layers
    would never be looked at again."""
    file = folder / LARGEST
    try:
        return parse_largest(read_json(file).get("largest"), str(file))
    except InputError:
        for other in folder.iterdir():
            other.unlink()
        return {}


class _RangeRun:
    """One run of it. What was seen is written down before what it was seen on is replaced: a block that was
    interrupted between the two is run again, and gives the same."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, progress: Progress, device: torch.device) -> None:
        self.checkpoint, self.folder, self.progress, self.device = checkpoint, folder, progress, device
        self.config = checkpoint.config
        self.observer = RangeObserver(_seen_before(folder))

    def measure_tower(self, data: RangeData) -> None:
        """Leaves every batch's features in the folder."""
        batches, blocks = [*picture_batches(data.pictures)], self.config.vision.num_hidden_layers
        self.progress.stage("largest numbers of the vision tower", len(batches) * blocks)
        for number, pictures in enumerate(batches):
            if is_sound(self._features(number)):
                self._skip(blocks, "block")
                continue
            states = self._blocks(number, pictures)
            tower = self._tower()
            resampler = load_module(
                self.checkpoint,
                RESAMPLER,
                lambda: Resampler(self.config.resampler, self.config.vision.grid),
                self.device,
            )
            features = self.observer.resampler(resampler, self.observer.finish(tower, states))
            self._note()
            write_checked_tensors(self._features(number), {"features": features.cpu().numpy()})
            remove_checked(self._states(f"pictures-{number}"))

    def measure_decoder(self, data: RangeData) -> int:
        """How many tokens the sequences have."""
        config = self.config.decoder
        self.progress.stage("largest numbers of the decoder", config.num_hidden_layers)
        first, states = self._enter("sequences")
        if not states:
            states = [each.to(self.device) for each in self._embedded(data)]  # (1, tokens, hidden) each
            self.observer.see("model.embed_tokens", *states)
        self._skip(first, "layer")
        for index in range(first, config.num_hidden_layers):
            name = f"model.layers.{index}"
            layer = load_module(self.checkpoint, name, lambda: DecoderLayer(config), self.device)
            states = [self._layer(layer, state, name) for state in states]
            self._leave("sequences", index + 1, states)
            self.progress.step(f"layer {index + 1}/{config.num_hidden_layers}")
        hidden, vocab = config.hidden_size, config.vocab_size
        norm = load_module(self.checkpoint, "model.norm", lambda: RMSNorm(hidden, config.rms_norm_eps), self.device)
        head = load_module(self.checkpoint, "lm_head", lambda: nn.Linear(hidden, vocab, bias=False), self.device)
        for state in states:
            self.observer.head(norm, head, state)
        return sum(state.shape[1] for state in states)

    def _blocks(self, number: int, pictures: Sequence[Path]) -> Tensor:
        """What leaves the last block: (pictures, tokens, hidden)."""
        name, config = f"pictures-{number}", self.config.vision
        first, states = self._enter(name)
        if not states:
            pixels = stack_pixels(map(load_image, pictures), config).to(self.device)
            states = [self.observer.embed(self._tower(), pixels)]
        self._skip(first, "block")
        for index in range(first, config.num_hidden_layers):
            place = f"{TOWER}.blocks.{index}"
            block = load_module(self.checkpoint, place, lambda: VisionBlock(config), self.device)
            states = [self.observer.block(block, state, place) for state in states]
            self._leave(name, index + 1, states)
            self.progress.step(f"block {index + 1}/{config.num_hidden_layers}")
        (last,) = states
        return last

    def _tower(self) -> VisionTower:
        """Without its blocks."""
        return load_module(self.checkpoint, TOWER, lambda: VisionTower(self.config.vision, blocks=()), self.device)

    def _layer(self, layer: DecoderLayer, state: Tensor, name: str) -> Tensor:
        tokens = state.shape[1]
        cos, sin = rope_tables(self.config.decoder, torch.arange(tokens, device=self.device))
        mask = causal_mask(tokens, self.config.decoder.sliding_window, self.device)
        return self.observer.layer(layer, state, cos, sin, mask, name)

    def _embedded(self, data: RangeData) -> Iterator[Tensor]:
        """The sequences as they enter the first layer, float32 (1, tokens, hidden) each."""
        batches = range(len([*picture_batches(data.pictures)]))
        features = [row for number in batches for row in load_file(self._features(number))["features"]]
        of_picture = dict(zip(data.pictures, features, strict=True))
        table = self.checkpoint.tensor("model.embed_tokens.weight")
        for sequence in data.sequences:
            embedded = table[list(sequence.ids)].float()  # (tokens, hidden)
            if sequence.image is not None:
                is_image = torch.tensor(sequence.ids) == self.config.tokens.im_patch
                embedded[is_image] = of_picture[sequence.image]
            yield embedded[None]

    # ---- files ----

    def _states(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _features(self, number: int) -> Path:
        return self.folder / f"features-{number}.safetensors"

    def _enter(self, name: str) -> tuple[int, list[Tensor]]:
        """The first block or layer that nothing was seen of yet, and what enters it; (0, []) at the very beginning."""
        if not is_sound(self._states(name)):
            return 0, []
        tensors = load_file(self._states(name))
        first = int(tensors.pop("entering"))
        # copies, not the file's map: it is written over
        return first, [tensors[str(number)].to(self.device, copy=True) for number in range(len(tensors))]

    def _leave(self, name: str, entering: int, states: Sequence[Tensor]) -> None:
        self._note()
        tensors = {str(number): state.cpu().numpy() for number, state in enumerate(states)}
        write_checked_tensors(self._states(name), {**tensors, "entering": np.asarray(entering)})

    def _note(self) -> None:
        write_json(self.folder / LARGEST, {"largest": self.observer.largest})

    def _skip(self, count: int, what: str) -> None:
        for number in range(count):
            self.progress.step(f"{what} {number + 1}")

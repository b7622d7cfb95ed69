"""Calibration sequences as the decoder sees them: token embeddings with pictures' features in their places."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_tensors
from export.reference.model import Resampler, VisionBlock, VisionTower
from export.reference.streaming import StreamedModules, load_module
from omnilmm_lite.picture.reading import load_image, pixel_hash, preprocess
from quantize.calibration.data import Prompt

# Pictures that go through the tower together: loading a block of it costs as much as running it on a few.
PICTURES_AT_ONCE = 8


@dataclass(frozen=True)
class Sample:
    is_image: Tensor  # bool (tokens,): where a picture's features stand
    embed: Callable[[], Tensor]  # float32 (1, tokens, hidden): made when needed, as all of them take a gigabyte
    tokens: tuple[Hashable, ...] = ()  # what each is: its id, or the picture that it is a part of; empty where unknown


@dataclass(frozen=True)
class Calibration:
    samples: tuple[Sample, ...]
    fingerprint: str  # the same for the same data, whatever the machine

    @classmethod
    def from_embeddings(cls, embeddings: Iterable[Tensor]) -> Self:
        """Sequences that are embedded already, float32 (1, tokens, hidden) each, without pictures."""
        digest = hashlib.sha256()
        samples = []
        for embedded in embeddings:
            digest.update(str(tuple(embedded.shape)).encode())
            digest.update(embedded.numpy().tobytes())
            samples.append(Sample(torch.zeros(embedded.shape[1], dtype=torch.bool), partial(_itself, embedded)))
        return cls(tuple(samples), digest.hexdigest())


@torch.inference_mode()
def embed_prompts(checkpoint: Checkpoint, prompts: Sequence[Prompt], cache: Path) -> Calibration:
    """Looks the tokens up and runs the pictures through the reference tower and resampler, one block in memory.

    Pictures' features are kept in the folder `cache`, since they take the tower minutes: an interrupted run finds
    them again. InputError for a picture that can't be read.
    """
    features = _picture_features(checkpoint, prompts, cache)
    digest = hashlib.sha256()
    samples = []
    for prompt in prompts:
        digest.update(f"{prompt.ids}".encode())
        pixels, values = "", None
        if prompt.image is not None:
            pixels, values = features[prompt.image]
            digest.update(pixels.encode())
        is_image = torch.tensor(prompt.ids) == checkpoint.config.tokens.im_patch
        tokens = tuple(pixels if token == checkpoint.config.tokens.im_patch else token for token in prompt.ids)
        samples.append(Sample(is_image, partial(_embed, checkpoint, prompt.ids, is_image, values), tokens))
    return Calibration(tuple(samples), digest.hexdigest())


def _itself(embedded: Tensor) -> Tensor:
    return embedded


def _embed(checkpoint: Checkpoint, ids: Sequence[int], is_image: Tensor, features: Tensor | None) -> Tensor:
    embeddings = checkpoint.tensor("model.embed_tokens.weight")[list(ids)].float()  # (tokens, hidden)
    if features is not None:
        embeddings[is_image] = features
    return embeddings[None]


def _picture_features(checkpoint: Checkpoint, prompts: Sequence[Prompt], cache: Path) -> dict[Path, tuple[str, Tensor]]:
    """Each picture's pixel hash and features (queries, hidden)."""
    paths = dict.fromkeys(prompt.image for prompt in prompts if prompt.image is not None)
    hashes = {path: pixel_hash(load_image(path)) for path in paths}
    # Always the same pictures together, in an interrupted run too: a batch's size shows in the last digits.
    unique = list({digest: path for path, digest in hashes.items()}.items())
    features: dict[str, Tensor] = {}
    for start in range(0, len(unique), PICTURES_AT_ONCE):
        batch = dict(unique[start : start + PICTURES_AT_ONCE])
        key = hashlib.sha256("".join([checkpoint.fingerprint(), *batch]).encode()).hexdigest()
        file = cache / f"pictures-{key[:16]}.safetensors"
        if not file.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            write_tensors(file, {"features": _encode(checkpoint, list(batch.values())).numpy()})
        features |= zip(batch, load_file(file)["features"], strict=True)
    return {path: (digest, features[digest]) for path, digest in hashes.items()}


def _encode(checkpoint: Checkpoint, pictures: Sequence[Path]) -> Tensor:
    """The reference's features of some pictures: float32 (pictures, queries, hidden)."""
    config = checkpoint.config
    pixels = np.concatenate([preprocess(load_image(picture), config.vision) for picture in pictures])
    blocks = StreamedModules[VisionBlock](
        checkpoint, "model.vision_tower.blocks", config.vision.num_hidden_layers, lambda: VisionBlock(config.vision)
    )
    tower = load_module(checkpoint, "model.vision_tower", lambda: VisionTower(config.vision, blocks))
    patches = tower(torch.from_numpy(pixels))  # (pictures, patches, kv_dim)
    resampler = load_module(checkpoint, "model.resampler", lambda: Resampler(config.resampler, config.vision.grid))
    features: Tensor = resampler(patches)
    return features

"""Calibration sequences as the decoder sees them: token embeddings with pictures' features in their places."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_checked_tensors
from export.reference.pictures import encode_pictures, picture_batches
from export.torch_device import TorchDevice
from omnilmm_lite.files.checked_file import is_usable
from omnilmm_lite.picture.reading import load_image, pixel_hash
from quantize.calibration.token_sequences import TokenSequence


@dataclass(frozen=True)
class EmbeddedSequence:
    """One calibration sequence as it enters the first layer."""

    is_image: Tensor  # bool (tokens,): where a picture's features stand
    embed: Callable[[], Tensor]  # float32 (1, tokens, hidden): made when needed, as all of them take a gigabyte
    tokens: tuple[Hashable, ...] = ()  # what each is: its id, or the picture that it is a part of; empty where unknown


@dataclass(frozen=True)
class Calibration:
    """All that a decoder is calibrated on."""

    sequences: tuple[EmbeddedSequence, ...]
    fingerprint: str  # the same for the same data, whatever the machine

    @classmethod
    def from_embeddings(cls, embeddings: Iterable[Tensor]) -> Self:
        """Sequences that are embedded already, float32 (1, tokens, hidden) each, without pictures."""
        digest = hashlib.sha256()
        sequences = []
        for states in embeddings:
            digest.update(str(tuple(states.shape)).encode())
            digest.update(states.numpy().tobytes())
            sequences.append(EmbeddedSequence(torch.zeros(states.shape[1], dtype=torch.bool), partial(_itself, states)))
        return cls(tuple(sequences), digest.hexdigest())


@torch.inference_mode()
def embed_sequences(
    checkpoint: Checkpoint,
    sequences: Sequence[TokenSequence],
    cache: Path,
    device: TorchDevice = TorchDevice(),  # noqa: B008  # immutable
) -> Calibration:
    """Looks the tokens up and runs the pictures through the reference tower and resampler, one block in memory.

    `device` is where the pictures run; all that comes out lies on the CPU. Pictures' features are kept in the folder
    `cache`, since they take the tower minutes: an interrupted run finds them again.
    InputError for a picture that can't be read.
    """
    features = _picture_features(checkpoint, sequences, cache, device)
    digest = hashlib.sha256()
    embedded = []
    for sequence in sequences:
        digest.update(f"{sequence.ids}".encode())
        pixels, values = "", None
        if sequence.image is not None:
            pixels, values = features[sequence.image]
            digest.update(pixels.encode())
        is_image = torch.tensor(sequence.ids) == checkpoint.config.tokens.im_patch
        tokens = tuple(pixels if token == checkpoint.config.tokens.im_patch else token for token in sequence.ids)
        embedded.append(EmbeddedSequence(is_image, partial(_embed, checkpoint, sequence.ids, is_image, values), tokens))
    return Calibration(tuple(embedded), digest.hexdigest())


def _itself(embedded: Tensor) -> Tensor:
    return embedded


def _embed(checkpoint: Checkpoint, ids: Sequence[int], is_image: Tensor, features: Tensor | None) -> Tensor:
    embeddings = checkpoint.tensor("model.embed_tokens.weight")[list(ids)].float()  # (tokens, hidden)
    if features is not None:
        embeddings[is_image] = features
    return embeddings[None]


def _picture_features(
    checkpoint: Checkpoint, sequences: Sequence[TokenSequence], cache: Path, device: TorchDevice
) -> dict[Path, tuple[str, Tensor]]:
    """Each picture's pixel hash and features (queries, hidden)."""
    paths = dict.fromkeys(sequence.image for sequence in sequences if sequence.image is not None)
    hashes = {path: pixel_hash(load_image(path)) for path in paths}
    unique = {digest: path for path, digest in hashes.items()}
    features: dict[str, Tensor] = {}
    for pictures in picture_batches(list(unique.values())):
        batch = [hashes[picture] for picture in pictures]
        key = hashlib.sha256("".join([checkpoint.fingerprint(), *batch]).encode()).hexdigest()
        file = cache / f"pictures-{key[:16]}.safetensors"
        if not is_usable(file):
            cache.mkdir(parents=True, exist_ok=True)
            with device.full_memory_said("the calibration's pictures"):
                encoded = encode_pictures(checkpoint, pictures, device.device)
            write_checked_tensors(file, {"features": encoded.numpy()})
        features |= zip(batch, load_file(file)["features"], strict=True)
    return {path: (digest, features[digest]) for path, digest in hashes.items()}

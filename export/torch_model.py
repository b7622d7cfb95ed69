"""A checkpoint as a model that answers, by the torch engine: what `--model CHECKPOINT` opens."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from export.torch_device import TorchDevice
from export.torch_setup import limit_torch_threads
from export.torch_tower import TowerOpener
from omnilmm_lite.answer.generation import TextModel
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.device import DeviceChoice
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.home.snapshot import Snapshot, folder_name
from omnilmm_lite.machine.memory import fatal_limit, total_bytes
from omnilmm_lite.model import BesideTower, LoadOptions, Model, ModelParts
from omnilmm_lite.model_source import MachineOptions
from omnilmm_lite.plan.torch_sizes import TorchSizes
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.tokenizer import Tokenizer
from omnilmm_lite.torch_engine.decoder import LoadedDecoder, TorchDecoder
from omnilmm_lite.torch_engine.embeddings import CheckpointEmbeddings
from omnilmm_lite.torch_engine.loading import DecoderLoading
from omnilmm_lite.torch_engine.packages import import_bitsandbytes
from omnilmm_lite.torch_engine.precision import compute_dtype
from omnilmm_lite.torch_engine.quantized_folder import QuantizedFolder, check_room
from omnilmm_lite.weights import Weights, kept_weights

KEPT_FORM = 1  # of the kept layers' files; changes where they do


@dataclass(frozen=True)
class CheckpointSource:
    """An opened checkpoint, before its weights are loaded; see `omnilmm_lite.model_source.ModelSource`."""

    checkpoint: Checkpoint
    weights: Weights

    @property
    def name(self) -> str:
        return folder_name(self.checkpoint.folder)

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.checkpoint.fingerprint()[:12]}, {self.weights.value}"

    @property
    def config(self) -> OmniLMMConfig:
        return self.checkpoint.config

    @property
    def sampling(self) -> SamplingParams:
        """The reference's."""
        return SamplingParams()

    def load(self, options: MachineOptions) -> Model:
        """InputError for options that aren't for a checkpoint, or a device that isn't there; OmniLMMError where there
        isn't room."""
        if options["cuda_graph"]:
            raise InputError("--cuda-graph: it is for bundles, and this is a checkpoint; leave it out, or convert it")
        if options.get("resident"):
            raise InputError("--resident: it is for bundles, and this is a checkpoint; give --no-resident")
        checked = LoadOptions.checked(
            self.checkpoint.config, options["context"], options["threads"], drafts=options["drafts"], cuda_graph=False
        )
        if self.weights.is_quantized:
            import_bitsandbytes()
        return TorchModel(self, Where.find(options["device"]), checked)


@dataclass(frozen=True)
class Where:
    """`vision`: tower and resampler."""

    vision: TorchDevice
    decoder: TorchDevice
    reason: str

    @classmethod
    def find(cls, wanted: str) -> Where:
        """`auto`, `cpu`, `cuda`, `cuda:1`, or two cards; InputError for what isn't there."""
        first, _, second = wanted.partition(",")
        vision = TorchDevice.find(first)
        if wanted != "auto":
            return cls(vision, TorchDevice.find(second) if second else vision, "asked for")
        return cls(vision, vision, "torch sees it" if vision.is_card else "torch sees no card")

    @property
    def choice(self) -> DeviceChoice:
        return DeviceChoice(Placement(_device_id(self.vision), _device_id(self.decoder)), self.reason)


class TorchModel(Model):
    """A loaded checkpoint."""

    def __init__(self, source: CheckpointSource, where: Where, options: LoadOptions) -> None:
        started = time.perf_counter()
        checkpoint, weights, config = source.checkpoint, source.weights, source.checkpoint.config
        if options.threads is None:
            limit_torch_threads()
        else:
            torch.set_num_threads(options.threads)
        decoder_device, vision_device = where.decoder.device, where.vision.device
        if weights is Weights.FP32:  # else a card's products and convolutions would be TF32
            where.decoder.prepare()
        compute = compute_dtype(weights, decoder_device)
        sizes = TorchSizes.of(config, weights, _kind(where.decoder), options.context, bf16=compute is torch.bfloat16)
        resident = _check_room(where, sizes, weights)
        self._scratch = tempfile.TemporaryDirectory(prefix="omnilmm-lite-")  # goes with the model
        tokenizer_file = Path(self._scratch.name) / "tokenizer.json"
        tokenizer_file.write_text(convert_tokenizer(checkpoint.folder, config.tokens).to_str(), encoding="utf-8")
        decoder = TorchDecoder(
            config.decoder,
            options.context,
            decoder_device,
            compute,
            lambda: load_decoder(source, decoder_device, compute, sizes.disk),
        )
        text = TextModel(
            config=config,
            tokenizer=Tokenizer(tokenizer_file),
            embeddings=CheckpointEmbeddings(checkpoint.tensor("model.embed_tokens.weight")),
            decoder=decoder,
            drafts=options.drafts,
        )
        tower = TowerOpener(checkpoint, vision_device, compute_dtype(weights, vision_device), resident)
        decoder.open()
        parts = ModelParts(
            name=source.name,
            identity=source.identity,
            form=f"weights {weights.value}, not converted",
            device=where.choice,
            text=text,
            tokenizer_file=tokenizer_file,
            open_tower=tower.open,
            beside_tower=BesideTower.NOTHING,  # one thread has torch's modes and the card
            takes_turns=False,
            sampling=source.sampling,
        )
        super().__init__(parts, time.perf_counter() - started)


def load_decoder(source: CheckpointSource, device: torch.device, compute: torch.dtype, room: int) -> LoadedDecoder:
    """From the layers that an earlier start has kept, or from the checkpoint. `room`: bytes to keep them in."""
    checkpoint, weights = source.checkpoint, source.weights
    config = checkpoint.config.decoder

    def loading(kept: QuantizedFolder | None) -> DecoderLoading:
        return DecoderLoading(checkpoint, config, weights, device, compute, kept, _say)

    if not weights.is_quantized:
        return loading(None).load()
    fingerprint = _fingerprint(source, device, compute)
    places = _kept_places(source)
    for kept in (QuantizedFolder(place, fingerprint, _say) for place in places):
        if kept.is_complete(config.num_hidden_layers):
            return loading(kept).load()
    for kept in (QuantizedFolder(place, fingerprint, _say) for place in places):
        if not _is_writable(kept.path):
            continue
        try:
            check_room(kept.path, room)
            kept.path.parent.mkdir(parents=True, exist_ok=True)
            with sole_owner(kept.path, _say):
                kept.prepare()
                _say(f"quantizing the decoder to {weights.value}, once; kept in {kept.path}")
                return loading(kept).load()
        except OSError as error:
            _say(f"{kept.path}: {error.strerror or error}")
    _say(f"quantizing the decoder to {weights.value}; it can't be kept, and the next start does so again")
    return loading(None).load()


def _fingerprint(source: CheckpointSource, device: torch.device, compute: torch.dtype) -> str:
    """Of what decides how kept layers look: the checkpoint, the format, bitsandbytes, and the kind of processor."""
    facts = [
        KEPT_FORM,
        source.checkpoint.fingerprint(),
        source.weights.value,
        import_bitsandbytes().__version__,
        device.type,
        str(compute),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _kept_places(source: CheckpointSource) -> list[Path]:
    """Beside the checkpoint, and where that can't be written, in the user's cache, by the checkpoint's whole path. Of a
    snapshot in Hugging Face's cache there alone: what lies beside it would be a version of the model to other programs.
    """
    resolved = source.checkpoint.folder.resolve()
    by_path = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:12]
    cache = platformdirs.user_cache_path("omnilmm-lite", appauthor=False)
    beside = [] if Snapshot.of(resolved) is not None else [kept_weights(resolved, source.weights)]
    return [*beside, cache / f"{source.name}.{source.weights.value}-{by_path}"]


def _is_writable(path: Path) -> bool:
    place = next(each for each in (path, *path.parents) if each.exists())
    return os.access(place, os.W_OK)


def _check_room(where: Where, sizes: TorchSizes, weights: Weights) -> bool:
    """Whether a card has room for the whole tower; OmniLMMError where there isn't room for the decoder."""
    device = where.decoder
    alone = sizes.total - sizes.tower
    if device.is_card:
        device.check_room(alone, f"the decoder with --weights {weights.value}")
        if where.vision.device != device.device:
            return where.vision.free_bytes() >= sizes.tower
        return device.free_bytes() >= sizes.total
    limit, machine = fatal_limit(), total_bytes()
    usable = limit.size if limit is not None else machine
    if usable is not None and weights is not Weights.BF16 and alone > usable:  # bf16 is mapped: slow, but possible
        raise OmniLMMError(
            f"--weights {weights.value} takes about {shown_size(alone)} of memory, and {shown_size(usable)} may be had "
            "here: take --weights nf4, or convert the checkpoint with --preset cpu-small"
        )
    return where.vision.is_card


def _kind(device: TorchDevice) -> Device:
    return Device.CUDA if device.is_card else Device.CPU


def _device_id(device: TorchDevice) -> DeviceId:
    return DeviceId(_kind(device), device.device.index or 0)


def _say(line: str) -> None:
    print(line, file=sys.stderr)

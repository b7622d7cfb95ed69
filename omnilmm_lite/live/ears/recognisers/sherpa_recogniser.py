"""sherpa-onnx, with the folder of a whole-utterance (non-streaming) transducer or of a Whisper model.

No model was there to hear a word with: see docs/live.md.
"""

from __future__ import annotations

import mmap
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.recognisers.model_folder import ModelFolder, missing_recogniser
from omnilmm_lite.live.ears.recognisers.wording import as_sentence
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm

KIND = "sherpa"
_HOLDS = "a sherpa-onnx model: *encoder*.onnx, *decoder*.onnx, *tokens.txt and, unless it is a Whisper, *joiner*.onnx"
# Keys of the metadata in an encoder's file. sherpa-onnx ends the whole program where one that it needs is missing.
_WHISPER_KEY = b"n_mels"
_TRANSDUCER_KEY = b"model_type"
_STREAMING_KEY = b"decode_chunk_len"


class SherpaRecogniser:
    def __init__(self, folder: Path) -> None:
        """InputError without the package or the model."""
        model_folder = ModelFolder(KIND, folder, _HOLDS)
        try:
            kind = import_module("sherpa_onnx").OfflineRecognizer
        except ImportError as error:
            raise missing_recogniser(KIND, "sherpa-onnx", error) from None
        self.name = model_folder.name
        with model_folder.opening():
            self._recogniser: Any = _open(model_folder, kind)

    def hear(self, pcm: Pcm) -> str:
        try:
            stream = self._recogniser.create_stream()
            stream.accept_waveform(SAMPLE_RATE, pcm.astype(np.float32) / -np.iinfo(np.int16).min)
            self._recogniser.decode_stream(stream)
            return as_sentence(stream.result.text)
        except RuntimeError:
            raise OmniLMMError("sherpa-onnx could not take an utterance") from None


def _open(model_folder: ModelFolder, kind: Any) -> Any:
    encoder, decoder, tokens = map(model_folder.file, ("*encoder*.onnx", "*decoder*.onnx", "*tokens.txt"))
    files = {"encoder": str(encoder), "decoder": str(decoder), "tokens": str(tokens)}
    is_whisper = not list(model_folder.folder.glob("*joiner*.onnx"))
    if _holds(encoder, _STREAMING_KEY):
        raise model_folder.error("its model is a streaming one")
    if not _holds(encoder, _WHISPER_KEY if is_whisper else _TRANSDUCER_KEY):
        raise model_folder.error(f"{encoder.name} is no encoder of such a model")
    if is_whisper:
        return kind.from_whisper(**files, language="")  # it finds out which
    return kind.from_transducer(**files, joiner=str(model_folder.file("*joiner*.onnx")), model_type="")


def _holds(path: Path, key: bytes) -> bool:
    """Whether the metadata may have `key`; they stand at the end of an ONNX file."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(key) >= 0

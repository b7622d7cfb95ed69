"""What the chat's tests share."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnilmm_lite.model import Model, load
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.sampling_params import sampling_params
from omnilmm_lite.terminal.chat_loop import ChatLoop
from omnilmm_lite.terminal.picture import PictureOpener
from omnilmm_lite.terminal.screen import Screen
from omnilmm_lite.terminal.session import Session
from tests.terminal.played import Keyboard, Line, Play, Played


@pytest.fixture(autouse=True)
def still_heard() -> Iterator[None]:
    """A chat that is left by Ctrl-C ignores it from then on; this process goes on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load(threads=1)


@pytest.fixture(scope="module")
def opener(tiny: Model) -> Iterator[PictureOpener]:
    with contextlib.closing(DecodingProcess()) as decoding:
        yield PictureOpener(decoding, tiny.config.vision)


@pytest.fixture
def play(tiny: Model, opener: PictureOpener, capsys: pytest.CaptureFixture[str]) -> Play:
    """Types lines at a chat whose answers are greedy."""

    def type_lines(
        *lines: Line,
        picture: Path | None = None,
        system: str | None = None,
        session: Session | None = None,
        keeps: bool = False,
    ) -> Played:
        keyboard = Keyboard(list(lines))
        if session is None:
            params = sampling_params(tiny.sampling, {"greedy": True})
            about = None if picture is None else opener.open_file(picture)
            session = Session(tiny, Screen(plain=True), opener, about, system, params, keeps=keeps)
        ChatLoop(session, keyboard).run()
        return Played(session, keyboard, *capsys.readouterr())

    return type_lines

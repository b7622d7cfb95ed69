"""PocketSphinx: American English, with its model inside the package.

It understands a clear voice nearly word for word, and real speech in a real room roughly.
"""

from __future__ import annotations

from typing import Any

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.live.ears.recognisers.wording import as_sentence
from omnilmm_lite.live.ears.sound import SAMPLE_RATE, Pcm
from omnilmm_lite.machine.extras import Extra, missing_package

_PART = SAMPLE_RATE // 20  # samples: it holds Python's lock for each call, and the event loop waits for that


class PocketSphinxRecogniser:
    name = "pocketsphinx"

    def __init__(self) -> None:
        """InputError without the package."""
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise missing_package("--ears pocketsphinx", error, Extra.EARS) from None
        self._decoder: Any = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def hear(self, pcm: Pcm) -> str:
        try:
            self._decoder.start_utt()
            for begin in range(0, len(pcm), _PART):
                self._decoder.process_raw(pcm[begin : begin + _PART].tobytes())
            self._decoder.end_utt()
        except RuntimeError:
            self._decoder.reinit()  # or it would wait for the end of this utterance
            raise OmniLMMError("pocketsphinx could not take an utterance") from None
        best = self._decoder.hyp()
        return as_sentence(best.hypstr if best is not None else "")

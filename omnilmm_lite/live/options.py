"""What a live session was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingParams

DESCRIPTION_PROMPT = "What is happening in the image?"  # the authors': a short question has a short answer
MOST_WINDOW = 64  # descriptions; a prompt has 2048 tokens
LONGEST_EVERY_S = 3600.0


class Look(Enum):
    """Whether a question looks at the newest frame itself, or is answered from descriptions."""

    AUTO = "auto"  # where it asks about now, see `answering/looking.py`
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class SessionOptions:
    """InputError names the first value that is out of its range."""

    prompt: str = DESCRIPTION_PROMPT  # asked of each frame
    every_s: float = 0.0  # least time between the beginnings of two descriptions; the source's end cuts it short
    window: int = 8  # descriptions that an answer is made from
    threshold: float = 0.03  # a frame that differs by less from the last described one is unchanged; 0 describes all
    look: Look = Look.AUTO
    description: SamplingParams = SamplingParams.greedy(repetition_penalty=1.1, max_new_tokens=96)  # how it is drawn
    answer: SamplingParams | None = None  # of answers that look; None: the model's own defaults
    voice_name: str = "none"  # for people, as `--voice` was given; the next likewise
    ears_name: str = "none"
    outlives_source: bool = False  # questions are taken after the source has ended, until `close`

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise InputError("--prompt: it is empty; give a question for each frame")
        if not 0 <= self.every_s <= LONGEST_EVERY_S:
            raise InputError(f"--every: {self.every_s:g} is out of range; give 0 to {LONGEST_EVERY_S:.0f} seconds")
        if not 1 <= self.window <= MOST_WINDOW:
            raise InputError(f"--window: {self.window} is out of range; give 1 to {MOST_WINDOW} descriptions")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"--threshold: {self.threshold:g} is out of range; give 0 (every frame differs) to 1")

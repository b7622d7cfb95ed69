"""Several answers over one decoder: each step gives every running one a token, and they join and leave between steps.

A prompt is prefilled in pieces between the steps of the others, so that none of them stalls longer than it may.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from omnilmm_lite.answer.generation import Answer, Prompt, TextModel, cache_keys
from omnilmm_lite.answer.slots import Slots
from omnilmm_lite.answer.steps import DraftStep, Logits, PrefillStep, Step, TokenStep
from omnilmm_lite.engine.decoder import PREFILL_CHUNK, SHORTEST_PREFILL, Decoder, SlotStep
from omnilmm_lite.engine.interrupt import Interrupted
from omnilmm_lite.errors import OmniLMMError

# Hears how many answers a step has given a token, and the seconds that it took.
ObserveStep: TypeAlias = Callable[[int, float], None]

FIRST_PIECE = 64  # tokens of a prompt between others' steps, before it is known how long they take
SMALLEST_PIECE = 8


def unobserved(answers: int, seconds: float) -> None:
    """The `ObserveStep` of who needn't know."""


@dataclass(frozen=True)
class Said:
    """`seat`'s answer goes on with `text`."""

    seat: Seat
    text: str


@dataclass(frozen=True)
class Ended:
    """`seat`'s answer has its `finish_reason`, or `error` ended it. The seat is free."""

    seat: Seat
    error: Exception | None = None


Outcome: TypeAlias = Said | Ended


@dataclass(eq=False)
class Seat:
    """An answer in its slot."""

    answer: Answer
    decoder: Decoder
    steps: Generator[str | Step, Logits | None, None]
    wants: Step | None = None  # what was asked for, and not run yet
    prefilled: int = 0  # tokens of it, where it is a prompt
    logits: Logits | None = None  # what it is to be sent

    @property
    def wants_prompts_graph(self) -> bool:
        """Whether it waits for as much of a prompt as takes the prompts' graph."""
        wants = self.wants
        return isinstance(wants, PrefillStep) and len(wants.keys) - self.prefilled >= SHORTEST_PREFILL


class PieceLength:
    """How many tokens of a prompt are run between the others' steps: doubled while there is time, halved when there was
    none. What a run costs at all is much of it, so a speed seen with short pieces says little of longer ones."""

    def __init__(self, stall_s: float) -> None:
        self.tokens = FIRST_PIECE
        self._stall_s = stall_s

    def note(self, seconds: float) -> None:
        """A whole piece took so long."""
        if seconds > self._stall_s:
            self.tokens = max(self.tokens // 2, SMALLEST_PIECE)
        elif 2 * seconds < self._stall_s:
            self.tokens = min(2 * self.tokens, PREFILL_CHUNK)


class AnswerBatch:
    """Used by one thread. `step` until there is nobody left, `join` and `leave` in between."""

    def __init__(
        self,
        text: TextModel,
        slots: Slots,
        stall_s: float,
        observe: ObserveStep = unobserved,
    ) -> None:
        """`stall_s`: how long a running answer may wait for a piece of somebody's prompt."""
        self._text, self._slots, self._observe = text, slots, observe
        self._seats: list[Seat] = []  # in the order of their coming
        self._left: list[Decoder] = []  # those that were used, in the order in which they were left
        self._piece = PieceLength(stall_s)
        self._outcomes: list[Outcome] = []  # that weren't given yet

    def __len__(self) -> int:
        """How many answers are running."""
        return len(self._seats)

    @property
    def seats(self) -> Sequence[Seat]:
        """Those whose answers are running, in the order of their coming."""
        return tuple(self._seats)

    @property
    def is_decoding(self) -> bool:
        """Whether somebody wants what the answers' graph runs, or hasn't said yet what it wants."""
        return any(not seat.wants_prompts_graph for seat in self._seats)

    @property
    def is_prefilling(self) -> bool:
        """Whether somebody wants what the prompts' graph runs, or hasn't said yet what it wants."""
        return any(seat.wants is None or seat.wants_prompts_graph for seat in self._seats)

    @property
    def has_room(self) -> bool:
        return len(self._seats) < len(self._slots.decoders)

    def join(self, prompt: Prompt, make: Callable[[TextModel], Answer]) -> Seat:
        """Seats an answer that `make` makes to `prompt`, over the model that it is given: its slot is the free one
        whose cache has most of the prompt. OmniLMMError where there is no room, or by `make`."""
        decoder = self._slot_for(prompt)
        answer = make(replace(self._text, decoder=decoder))
        seat = Seat(answer, decoder, answer.stepwise())
        self._seats.append(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Ends an answer before its time; nothing where it has ended. No step tells more of it."""
        self._outcomes = [outcome for outcome in self._outcomes if outcome.seat is not seat]
        self._free(seat)

    def step(self, *, prefills: bool = True) -> list[Outcome]:
        """Goes on by a token for each answer under way, and a piece of one prompt. What came of it. Without `prefills`
        only what the answers' graph runs: tokens, and prompts of a few.

        An error ends the answers that it befell, and no other. What interrupts the step is raised; nothing is lost
        then, the next one runs it again.
        """
        self._advance()
        if running := [seat for seat in self._seats if isinstance(seat.wants, TokenStep)]:
            with self._ending(running):
                self._decode(running)
        for seat in tuple(self._seats):
            if isinstance(seat.wants, DraftStep):
                with self._ending([seat]):
                    seat.logits, seat.wants = seat.wants.run(seat.decoder), None
        may_run = (seat for seat in self._seats if prefills or not seat.wants_prompts_graph)
        waiting = next((seat for seat in may_run if isinstance(seat.wants, PrefillStep)), None)
        if waiting is not None:
            with self._ending([waiting]):
                self._prefill(waiting, alone=len(self._seats) == 1)
        self._advance()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    @contextlib.contextmanager
    def _ending(self, seats: Sequence[Seat]) -> Iterator[None]:
        """A block whose error ends those of `seats` that still want what it runs."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            for seat in seats:
                if seat.wants is not None:
                    self._end(seat, error)

    def _end(self, seat: Seat, error: Exception | None = None) -> None:
        self._free(seat)
        self._outcomes.append(Ended(seat, error))

    def _free(self, seat: Seat) -> None:
        if seat in self._seats:
            self._seats.remove(seat)
            self._left = [*(decoder for decoder in self._left if decoder is not seat.decoder), seat.decoder]
            seat.steps.close()

    def _advance(self) -> None:
        """Lets each answer draw its token, up to what it wants to be run next."""
        for seat in tuple(self._seats):
            while seat.wants is None:
                logits, seat.logits = seat.logits, None
                try:
                    said = seat.steps.send(logits)
                except StopIteration:
                    self._end(seat)
                    break
                except Exception as error:
                    self._end(seat, error)
                    break
                if isinstance(said, str):
                    self._outcomes.append(Said(seat, said))
                else:
                    seat.wants, seat.prefilled = said, 0

    def _decode(self, running: Sequence[Seat]) -> None:
        steps, started = {}, time.perf_counter()
        for seat in running:
            assert isinstance(seat.wants, TokenStep)
            steps[SlotStep(seat.decoder, seat.wants.token, seat.wants.embedding)] = seat
        for step, logits in self._slots.decode([*steps]):
            seat = steps[step]
            seat.logits, seat.wants = logits, None
        self._observe(len(running), time.perf_counter() - started)

    def _prefill(self, seat: Seat, *, alone: bool) -> None:
        """Runs a piece of the prompt, as long as the others can wait; where there are none, as long as pieces are."""
        step = seat.wants
        assert isinstance(step, PrefillStep)
        tokens = PREFILL_CHUNK if alone else self._piece.tokens
        if len(step.keys) - seat.prefilled - tokens < SHORTEST_PREFILL:  # or its end would take the answers' graph
            tokens += SHORTEST_PREFILL
        piece = slice(seat.prefilled, seat.prefilled + tokens)
        started = time.perf_counter()
        logits = seat.decoder.prefill(step.keys[piece], step.embeddings[piece])
        done = len(step.keys[piece])
        if done == self._piece.tokens and not alone:
            self._piece.note(time.perf_counter() - started)
        seat.prefilled += done
        if seat.prefilled == len(step.keys):
            seat.logits, seat.wants = logits, None

    def _slot_for(self, prompt: Prompt) -> Decoder:
        """The free slot that holds most of the prompt's beginning; of equals, the one that was left first."""
        taken = [seat.decoder for seat in self._seats]
        free = [decoder for decoder in self._slots.decoders if decoder not in taken]
        if not free:
            raise OmniLMMError(f"all {len(taken)} slots are taken")
        keys = cache_keys(prompt, self._text.config)
        by_age = sorted(free, key=lambda decoder: self._left.index(decoder) + 1 if decoder in self._left else 0)
        return max(by_age, key=lambda decoder: decoder.shared(keys))

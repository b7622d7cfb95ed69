"""Questions, each in its turn, become answers; after each the text model sums up."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from omnilmm_lite.answer.generation import Answer
from omnilmm_lite.engine.interrupt import Interrupted
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.live.answering.looking import asks_about_now
from omnilmm_lite.live.answering.memory import Description, Memory
from omnilmm_lite.live.answering.prompts import answer_messages, summary_messages
from omnilmm_lite.live.answering.text_model import Message, TextModel
from omnilmm_lite.live.events import AnswerEnded, AnswerPiece, QuestionAsked, Stage, Summarised
from omnilmm_lite.live.frames.prepared_frame import PreparedFrame
from omnilmm_lite.live.journal import Journal
from omnilmm_lite.live.model_turns import SharedModel, Urgency
from omnilmm_lite.live.options import Look, SessionOptions
from omnilmm_lite.live.stages.describing import Describing

MOST_WAITING = 16
LONGEST_QUESTION = 2000  # characters


@dataclass(eq=False)
class Question:
    """`ended_s`: time.monotonic() when it was asked to its end."""

    question_id: int
    text: str
    ended_s: float
    first_piece_s: float | None = None  # from its end; so is the next
    looked_at: int | None = None
    answer: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class ComingAnswer:
    """An answer for the voice, while it comes."""

    question: Question
    pieces: MemoryObjectReceiveStream[str]


class Answering:
    """One answer at a time. `say` takes each for the voice, where there is one."""

    def __init__(
        self,
        model: SharedModel,
        text_model: TextModel,
        describing: Describing,
        memory: Memory,
        journal: Journal,
        options: SessionOptions,
        say: Callable[[ComingAnswer], None] | None,
    ) -> None:
        self._model, self._text_model, self._describing = model, text_model, describing
        self._memory, self._journal, self._options, self._say = memory, journal, options, say
        self._waiting: deque[Question] = deque()
        self._came = anyio.Event()
        self._asked = 0
        self._takes_more = True
        self._scope: anyio.CancelScope | None = None  # of the answer under way
        self._summarises: anyio.CancelScope | None = None
        self._is_gone = self._is_looked_for = False  # the text model

    # ---- from outside ----

    def ask(self, text: str, *, spoken: bool, ended_s: float | None) -> int:
        """The question's id. InputError where it can't be taken."""
        text = text.strip()
        if not text:
            raise InputError("the question is empty")
        if len(text) > LONGEST_QUESTION:
            raise InputError(f"the question has {len(text)} characters; ask in at most {LONGEST_QUESTION}")
        if not self._takes_more:
            raise InputError("the session has ended: no more questions are taken")
        if len(self._waiting) >= MOST_WAITING:
            raise InputError(f"{MOST_WAITING} questions wait already; ask again when some are answered")
        if spoken:
            self.interrupt()
        self._asked += 1
        question = Question(self._asked, text, time.monotonic() if ended_s is None else ended_s)
        self._waiting.append(question)
        self._journal.meter.waiting_questions += 1
        self._journal.tell(QuestionAsked(self._journal.now_s, question.question_id, text, spoken))
        if self._summarises is not None:
            self._summarises.cancel()
        self._tell()
        return question.question_id

    def interrupt(self) -> None:
        """Ends the answer under way."""
        if self._scope is not None:
            self._scope.cancel()

    def close(self) -> None:
        """No more questions are taken."""
        self._takes_more = False
        self._tell()

    # ---- the stage ----

    async def run(self) -> None:
        """Until `close`, and all that was asked is answered and summed up."""
        async with anyio.create_task_group() as group:
            while True:
                while not self._waiting:
                    if not self._takes_more:
                        group.cancel_scope.cancel()
                        return
                    self._came = anyio.Event()
                    await self._came.wait()
                question = self._waiting.popleft()
                await self._answer(question)
                if self._is_gone:
                    if not self._is_looked_for:
                        self._is_looked_for = True
                        group.start_soon(self._look_whether_back)
                elif not self._waiting:
                    await self._summarise()

    def _tell(self) -> None:
        self._came.set()

    async def _answer(self, question: Question) -> None:
        sender, receiver = anyio.create_memory_object_stream[str](LONGEST_QUESTION)
        if self._say is not None:
            self._say(ComingAnswer(question, receiver))
        else:
            receiver.close()
        with anyio.CancelScope() as self._scope, sender:
            try:
                await self._fill(question, sender)
            except OmniLMMError as error:
                self._journal.trouble(Stage.ANSWER, str(error))
        interrupted, self._scope = self._scope.cancelled_caught, None
        self._ended(question, interrupted)

    async def _fill(self, question: Question, sender: MemoryObjectSendStream[str]) -> None:
        def on_piece(piece: str) -> None:
            now = time.monotonic()
            if question.first_piece_s is None:
                question.first_piece_s = round(now - question.ended_s, 4)
                self._journal.meter.took(Stage.ANSWER, question.first_piece_s)
            question.answer.append(piece)
            with contextlib.suppress(anyio.WouldBlock, anyio.BrokenResourceError):  # nobody says it, or not all of it
                sender.send_nowait(piece)
            self._journal.tell(AnswerPiece(self._journal.since(now), question.question_id, piece))

        if (frame := await self._frame_for(question.text)) is not None:
            question.looked_at = frame.frame.number
            await self._look(question, frame, on_piece)
            if not self._is_gone:  # else that is the trouble
                self._journal.works(Stage.ANSWER)
            return
        await self._describing.first()
        messages = self._fitting(
            lambda window: answer_messages(self._memory.summary, window, question.text, self._journal.now_s)
        )
        try:
            await self._text_model.complete(messages, Urgency.QUESTION, on_piece)
        except OmniLMMError:
            self._is_gone = True
            raise
        self._is_gone = False
        self._journal.works(Stage.ANSWER)

    async def _frame_for(self, question: str) -> PreparedFrame | None:
        """The frame to look at; None where the descriptions are to answer."""
        look = self._options.look
        if look is Look.NEVER or (look is Look.AUTO and not asks_about_now(question)):
            return None
        if (frame := await self._describing.newest()) is None:
            await self._describing.first()
            frame = await self._describing.newest()
        return frame

    async def _look(self, question: Question, frame: PreparedFrame, on_piece: Callable[[str], None]) -> None:
        model = self._model.model

        def pieces() -> Iterator[str]:
            chat = model.chat(frame.image)
            answer: Answer = chat.answer(question.text, self._options.answer or model.sampling)
            yield from answer

        async with self._model.turn(Urgency.QUESTION, looks_at=frame.image.pixel_hash) as turn:
            await turn.stream(pieces, on_piece)

    def _ended(self, question: Question, interrupted: bool) -> None:
        text = "".join(question.answer).strip()
        total_s = round(time.monotonic() - question.ended_s, 4)
        self._journal.meter.waiting_questions -= 1
        if text:
            self._memory.answered(question.text, text)
        self._journal.tell(
            AnswerEnded(
                self._journal.now_s,
                question.question_id,
                text,
                question.looked_at,
                question.first_piece_s,
                total_s,
                interrupted,
            )
        )

    async def _summarise(self) -> None:
        """A question that comes meanwhile ends it; what it would have told of is in the next one."""
        rounds = self._memory.rounds
        if not rounds:
            return
        pieces: list[str] = []
        began = time.monotonic()
        with anyio.CancelScope() as self._summarises:
            try:
                messages = self._fitting(
                    lambda window: summary_messages(self._memory.summary, window, rounds, self._journal.now_s)
                )
                await self._text_model.complete(messages, Urgency.SUMMARY, pieces.append)
            except Interrupted:
                return
            except OmniLMMError as error:
                self._journal.trouble(Stage.SUMMARISE, str(error))
                return
            finally:
                self._summarises = None
            text = "".join(pieces).strip()
            if text:
                self._memory.summarised(text, rounds)
            self._journal.meter.took(Stage.SUMMARISE, time.monotonic() - began)
            self._journal.works(Stage.SUMMARISE)
            self._journal.tell(Summarised(self._journal.now_s, self._memory.summary))

    def _fitting(self, messages_of: Callable[[Sequence[Description]], Sequence[Message]]) -> Sequence[Message]:
        """The messages with as many of the newest descriptions as there is room for."""
        window = self._memory.window
        messages = messages_of(window)
        while window and not self._text_model.fits(messages):
            window = window[1:]
            messages = messages_of(window)
        return messages

    async def _look_whether_back(self) -> None:
        await self._text_model.wait_until_back()
        self._is_gone = self._is_looked_for = False
        self._journal.works(Stage.ANSWER)

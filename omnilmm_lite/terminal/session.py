"""The chat's state, and everything that its commands do to it."""

from __future__ import annotations

import contextlib
import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from omnilmm_lite.answer.generation import Answer, FinishReason
from omnilmm_lite.chat import Chat
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.machine.memory import peak_rss_bytes
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.terminal import settings
from omnilmm_lite.terminal.chats import markdown
from omnilmm_lite.terminal.chats.kept import KeptChat
from omnilmm_lite.terminal.chats.transcript import PictureRecord, Transcript, Turn, read_transcript, write_transcript
from omnilmm_lite.terminal.paths.line import TypedLine, read_line
from omnilmm_lite.terminal.paths.readings import named_file
from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener
from omnilmm_lite.terminal.screen import Screen
from omnilmm_lite.terminal.waiting_line import items_of, value_of

if TYPE_CHECKING:
    from omnilmm_lite.engine.vision import ImageFeatures
    from omnilmm_lite.model import Model

SHORT = 60  # characters of a question that is named
DEFAULT_SYSTEM_WORD = "default"
CLEAR = "/clear starts a new conversation about the same picture"


class AnswerStopped(KeyboardInterrupt):
    """Ctrl-C ended an answer, and the screen says so already."""


class Session:
    """One conversation at a time. What fails or is stopped leaves everything as it was."""

    def __init__(
        self,
        model: Model,
        screen: Screen,
        pictures: PictureOpener,
        picture: ChatPicture | None,
        system: str | None,
        params: SamplingParams,
        *,
        keeps: bool = False,
    ) -> None:
        """`pictures`: where others come from. `system` None is the model's own text. `keeps`: conversations, for
        another day."""
        self._model, self.screen, self._pictures = model, screen, pictures
        self.picture, self.system, self.params = picture, system, params
        self._seen: WeakSet[ImageFeatures] = WeakSet()
        self._last: Answer | None = None
        self._encoded = ""  # how the picture came to its features
        self._keeps, self._kept = keeps, KeptChat()
        self._kept_chat: Chat | None = None  # which conversation `_kept` is the file of
        self._earlier: Path | None = None  # where the next one lay before
        self._chat = self._open(picture, system)
        if picture is not None:
            screen.picture(picture.image)
            screen.note(f"{picture.name}, {picture.size}, {self._encoded}")

    # ---- conversation ----

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was asked and answered."""
        texts = [message["content"] for message in self._chat.messages if message["role"] != "system"]
        return tuple(Turn(*pair) for pair in zip(texts[::2], texts[1::2], strict=True))

    @property
    def context_used(self) -> int:
        """Tokens of the conversation so far."""
        return len(self._model.encode_chat(self._chat.messages, image=self.picture is not None)) if self.turns else 0

    @property
    def context(self) -> int:
        """Tokens that a conversation may have."""
        return self._model.text.decoder.context

    def ask(self, question: str) -> None:
        """Answers on the screen, piece by piece. Ctrl-C ends it with AnswerStopped; what was said until then
        stays."""
        try:
            answer = self._chat.answer(question, self.params)
        except ContextFullError as error:
            raise ContextFullError(f"{error}; {CLEAR}") from None
        shown = ""
        stopped = False
        try:
            with contextlib.closing(items_of(lambda: self._chat.follow(question, answer), "thinking")) as pieces:
                for piece in pieces:
                    shown += piece
                    self.screen.piece(piece)
        except KeyboardInterrupt:
            stopped = True
            self.screen.piece(answer.text[len(shown) :])  # what came while the key was pressed is part of the turn
        self._last = answer
        self.screen.end_of_answer("stopped" if stopped else self._remark(answer))
        if stopped:
            raise AnswerStopped

    def regenerate(self) -> None:
        """Asks the last question again; the old answer is kept where the new one doesn't even begin."""
        if not self.turns:
            raise InputError("there is no answer yet; ask a question")
        if self.params.is_greedy or self.params.seed is not None:
            self.screen.note("greedy, or with a seed, an answer stays the same: /set temperature or /set seed none")
        chat, before = self._chat, list(self._chat.messages)
        del chat.messages[-2:]
        try:
            self.ask(before[-2]["content"])
        finally:
            if len(chat.messages) < len(before):
                chat.messages[:] = before

    def undo(self) -> None:
        """Takes the last question and its answer back."""
        if not self.turns:
            raise InputError("there is nothing to take back; ask a question")
        question = self._chat.messages[-2]["content"]
        del self._chat.messages[-2:]
        left = len(self.turns)
        again = f"{left} before it {'stays' if left == 1 else 'stay'}" if left else "the conversation begins anew"
        self.screen.note(f"taken back: {printable(question, SHORT)}; {again}")

    def clear(self) -> None:
        """Begins a new conversation about the same picture."""
        self._chat = self._open(self.picture, self.system)
        about = f"about {self.picture.name}" if self.picture else "without a picture"
        self.screen.note(f"a new conversation, {about}")

    def look_at(self, picture: ChatPicture, *, asks: bool = False) -> None:
        """Begins a new conversation about another picture. `asks`: a question comes with it."""
        had_turns = bool(self.turns)
        self._chat, self.picture = self._open(picture, self.system), picture
        self.screen.picture(picture.image)
        began = "a new conversation begins" if had_turns else "" if asks else "ask about it"
        self.screen.note(f"{picture.name}, {picture.size}, {self._encoded}{began and ': '}{began}")

    def take(self, line: TypedLine) -> None:
        """Looks at the picture that a line names, if it isn't this one, and asks what the line asks about it.

        InputError, and nothing has changed, where it names several, or one that can't be opened."""
        if len(line.pictures) > 1:
            names = ", ".join(printable(Path(path).name, SHORT) for path in line.pictures)
            raise InputError(f"{names}: a conversation is about one picture; name one of them at a time")
        for source in line.pictures:
            picture = self._pictures.open_file(source)
            if line.question and picture.image.pixel_hash == self._hash():
                self.screen.note(f"still about {picture.name}")
            else:
                self.look_at(picture, asks=bool(line.question))
        if line.question:
            self.ask(line.question)

    def look_for(self, source: str) -> None:
        """/image: a path, with a question or without, `clipboard` or `screen`. Without one: which picture it is."""
        line = TypedLine((), "") if named_file(source) else read_line(source)
        if any(isinstance(path, Path) for path in line.pictures):
            self.take(line)
        elif source:
            self.look_at(self._pictures.open(source))
        elif self.picture is None:
            self.screen.note("no picture; /image PATH takes one")
        else:
            self.screen.note(f"{self.picture.path or self.picture.name}, {self.picture.size}")

    def set_system(self, text: str) -> None:
        """/system: another text for the system's turn, which begins a new conversation. Without one: the text."""
        if not text:
            self.screen.note(self.system or "the model's own system text; /system TEXT replaces it")
            return
        system = None if text == DEFAULT_SYSTEM_WORD else text
        self._chat, self.system = self._open(self.picture, system), system
        self.screen.note("system text set: a new conversation begins")

    def set_option(self, words: str) -> None:
        """/set: NAME VALUE, NAME=VALUE; without them, all settings."""
        defaults = self._model.sampling
        name, _, value = words.replace("=", " ", 1).partition(" ")
        if not name:
            self.screen.rows(settings.rows(self.params, defaults))
            return
        if not value.strip():
            raise InputError(f"{name}: give a value, as in /set temperature 0.2, or the word default")
        self.params = settings.changed(self.params, defaults, name, value)
        wanted = name.replace("-", "_").lower()
        self.screen.rows(row for row in settings.rows(self.params, defaults) if row[0] == wanted)

    # ---- files ----

    def save(self, name: str) -> None:
        """/save: the conversation, to a file."""
        path = _path_of(name, "/save")
        write_transcript(self._transcript(), path)
        self.screen.note(f"saved to {path}")

    def export(self, name: str) -> None:
        """/export: the conversation as Markdown, its picture in a file beside it. Without a name, one is found."""
        if not self.turns:
            raise InputError("there is nothing to export yet; ask a question")
        path = _path_of(name, "/export", "chat.md") if name else markdown.free_name(datetime.datetime.now())
        path = path if path.suffix else path.with_suffix(markdown.SUFFIX)
        picture = None
        if self.picture is not None:
            picture = (self.picture.name, *self._pictures.file_of(self.picture))
        beside = markdown.write_markdown(self._transcript(), path, picture)
        self.screen.note(f"exported to {path}{f', its picture to {beside}' if beside else ''}")

    @property
    def is_kept(self) -> bool:
        """Whether a later chat can go on with this conversation."""
        return self._keeps and self._kept_chat is self._chat and self._kept.is_there

    def keep(self) -> None:
        """Has the conversation kept as it is now, if that is wanted."""
        if not self._keeps:
            return
        if self._kept_chat is not self._chat:
            self._kept, self._kept_chat, self._earlier = KeptChat(earlier=self._earlier), self._chat, None
        if problem := self._kept.keep(self._transcript()):
            self.screen.complain(problem)

    def go_on_with(self, path: Path) -> None:
        """Takes up the conversation kept in a file, and says which. The sampling stays as it is."""
        try:
            when = datetime.datetime.fromtimestamp(path.stat().st_mtime)
        except OSError:
            raise InputError(
                "--continue: the conversation was taken up by another chat meanwhile; give the command once more"
            ) from None
        self.screen.note(f"going on with the conversation of {when:%Y-%m-%d %H:%M}")
        params = self.params
        self._load(path)
        self.params, self._earlier = params, path

    def load(self, name: str) -> None:
        """/load: a saved conversation in place of this one."""
        self._load(named_file(name) or _path_of(name, "/load"))

    def _transcript(self) -> Transcript:
        features, picture = self._chat.image, self.picture
        record = None
        if picture is not None and features is not None:
            path_text = None if picture.path is None else str(picture.path)
            record = PictureRecord(path_text, features.pixel_hash, *picture.image.size)
        return Transcript(self._model.name, record, self.system, self.params, self.turns)

    def _load(self, path: Path) -> None:
        transcript = read_transcript(path)
        picture, problem = self._find_picture(transcript.picture)
        chat = self._open(picture, transcript.system)
        for turn in transcript.turns:
            chat.messages.append({"role": "user", "content": turn.question})
            chat.messages.append({"role": "assistant", "content": turn.answer})
        self._chat, self.picture, self.system = chat, picture, transcript.system
        self.params = transcript.sampling
        record = transcript.picture
        if not problem and picture is not None and record is not None and self._hash() != record.pixel_sha256:
            problem = f"{picture.name} has changed since: earlier answers are about the picture as it was"
        for turn in transcript.turns:
            self.screen.note(f"> {turn.question}")
            self.screen.piece(turn.answer)
            self.screen.end_of_answer()
        if picture is not None:
            self.screen.picture(picture.image)
        about = f" about {picture.name}" if picture else ""
        count = len(transcript.turns)
        loaded = "1 question and its answer" if count == 1 else f"{count} questions and answers"
        self.screen.note(f"loaded {loaded}{about}")
        if problem:
            self.screen.complain(problem)
        if transcript.model != (here := self._model.name):
            self.screen.complain(f"the answers are the model {transcript.model}'s; this is {here}")

    def _find_picture(self, record: PictureRecord | None) -> tuple[ChatPicture | None, str]:
        """The picture of a saved chat, or what is wrong with it."""
        if record is None:
            return None, ""
        if self.picture is not None and self._hash() == record.pixel_sha256:
            return self.picture, ""
        if record.path is None:
            return None, "the picture came from no file: the model doesn't see it any more"
        try:
            return self._pictures.open_file(Path(record.path)), ""
        except InputError as error:
            return None, f"{error}; without it, the model doesn't see the picture"

    def _hash(self) -> str:
        return "" if self._chat.image is None else self._chat.image.pixel_hash

    # ---- info ----

    def info(self) -> None:
        """/info: what runs where, and how fast."""
        model, choice = self._model, self._model.device
        peak = peak_rss_bytes()
        picture = f"{self.picture.name}, {self.picture.size}, {self._encoded}" if self.picture else "none"
        self.screen.rows(
            [
                ("model", f"{model.name}, {model.parts.form}"),
                ("device", f"{choice.placement}: {choice.reason}"),
                ("memory", "unknown" if peak is None else f"{peak / 2**30:.2f} GiB at most until now"),
                ("context", f"{self.context_used} of {self.context} tokens used"),
                ("picture", picture),
                ("last answer", _speed(self._last)),
            ]
        )

    # ---- parts ----

    def _open(self, picture: ChatPicture | None, system: str | None) -> Chat:
        """A new conversation; a picture that the model doesn't remember is encoded, which may take long."""
        if picture is None:
            return self._model.chat(None, system)
        started = time.monotonic()
        chat = value_of(lambda: self._model.chat(picture.image, system), "looking at the picture")
        features = chat.image
        if features is not None:
            # the model gives the same object for a picture that it remembers
            remembered = features in self._seen
            self._encoded = "remembered" if remembered else f"looked at in {time.monotonic() - started:.1f} s"
            self._seen.add(features)
        return chat

    def _remark(self, answer: Answer) -> str:
        if answer.finish_reason is FinishReason.LENGTH:
            full = answer.timings.prompt_tokens + answer.timings.new_tokens >= self.context
            return f"the context is full: {CLEAR}" if full else f"ended by max_new_tokens {self.params.max_new_tokens}"
        return "" if answer.text else "the model says nothing"


def _path_of(name: str, command: str, example: str = "chat.json") -> Path:
    if not name:
        raise InputError(f"{command}: name a file, as in {command} {example}")
    unquoted = name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else name
    with contextlib.suppress(RuntimeError, ValueError):  # `~` of nobody, or before a zero byte
        return Path(unquoted).expanduser()
    return Path(unquoted)


def _speed(answer: Answer | None) -> str:
    if answer is None:
        return "none yet"
    times = answer.timings
    prompt = f"{times.prefill_tokens} of the prompt's {times.prompt_tokens} tokens read in {times.prefill_s:.2f} s"
    return f"{times.new_tokens} tokens, {times.tokens_per_s:.1f} tokens/s; {prompt}"

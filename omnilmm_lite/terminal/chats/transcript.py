"""A conversation in a file: JSON with a version, the picture by path and by the hash of its pixels."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from omnilmm_lite.bundle.schema import SchemaError, build
from omnilmm_lite.errors import InputError
from omnilmm_lite.files import durable_file
from omnilmm_lite.sampling_params import SamplingParams

FORMAT = "omnilmm-lite chat"
VERSION = 1
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class PictureRecord:
    """Which picture it was; the pixels stay where they are."""

    path: str | None  # None where it came from no file
    pixel_sha256: str  # omnilmm_lite.picture.reading.pixel_hash
    width: int
    height: int


@dataclass(frozen=True)
class Turn:
    question: str
    answer: str


@dataclass(frozen=True)
class Transcript:
    """What was said, about which picture, and how it was sampled. `system` None is the model's own text."""

    model: str
    picture: PictureRecord | None
    system: str | None
    sampling: SamplingParams
    turns: tuple[Turn, ...]

    def to_json(self) -> str:
        fields = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        return json.dumps(fields, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Transcript:
        """InputError, one line that begins with `where`, for anything but a transcript of this version."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
            raise InputError(f"{where}: this is no saved chat; name a file that /save wrote")
        if (version := fields.pop("version", None)) != VERSION:
            raise InputError(
                f"{where}: the chat has the version {str(version)[:20]}, this program reads {VERSION}; "
                "load it with the program that saved it"
            )
        try:
            transcript = build(cls, fields)
        except SchemaError as error:
            raise InputError(f"{where}: the chat is damaged: {error}") from None
        except InputError as error:  # a sampling option out of its range
            raise InputError(f"{where}: sampling.{error}") from None
        if any(not turn.question.strip() for turn in transcript.turns):
            raise InputError(f"{where}: the chat is damaged: a question is empty")
        return transcript


def write_transcript(transcript: Transcript, path: Path) -> None:
    """Writes the file whole or not at all, for its owner alone to read.

    InputError where it can't be written, or where it would replace something else.
    """
    _check_target(path)
    try:
        durable_file.write_text(path, transcript.to_json(), mode=0o600)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: the chat can't be saved there: {reason}; name another file") from None


def read_transcript(path: Path) -> Transcript:
    """The transcript in a file; InputError where it can't be read or is none."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; check the path")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{path}: this is no saved chat: it has more than {MAX_BYTES >> 20} MiB; name another file"
            )
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is no saved chat; name a file that /save wrote") from None
    except OSError as error:
        raise InputError(f"{path}: this file can't be read: {error.strerror}; check its rights") from None
    return Transcript.from_json(text, str(path))


def _check_target(path: Path) -> None:
    """A saved chat may be saved again; nothing else is overwritten."""
    try:
        if not path.exists():
            return
        read_transcript(path)
    except (InputError, OSError):
        raise InputError(f"{path}: this is there already and is no saved chat; name another file") from None

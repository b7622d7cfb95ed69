"""Text to token ids and back: the bundle's tokenizer.json, and streaming detokenisation."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from pathlib import Path

import tokenizers

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import MAX_BYTES
from omnilmm_lite.files.regular_file import read_regular

WORD_BOUNDARY = "\u2581"  # sentencepiece's stand-in for a space
PANIC = "PanicException"  # what a failed check in Rust becomes in Python: not an Exception, and nowhere to import from
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class Tokenizer:
    """The bundle's tokenizer. InputError where the file is missing or isn't a tokenizer."""

    def __init__(self, path: str | Path) -> None:
        self._backend = _open(Path(path))
        # Text is always text: a typed `<im_patch>` or `</s>` must never become the special token.
        self._backend.encode_special_tokens = True
        normalizer = self._backend.normalizer
        self._dummy_prefix = normalizer is not None and normalizer.normalize_str("a").startswith(WORD_BOUNDARY)
        added = self._backend.get_added_tokens_decoder()
        self._special_ids = frozenset(token_id for token_id, token in added.items() if token.special)

    @property
    def vocab_size(self) -> int:
        """Pieces and added tokens together."""
        return self._backend.get_vocab_size()

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that no text can produce and that detokenising skips."""
        return self._special_ids

    def encode_text(self, text: str) -> list[int]:
        """Ids of one segment of text between special tokens, as the legacy LlamaTokenizer gives them.

        Each segment gets its own leading word boundary; nothing typed becomes a special token; no BOS is added.
        InputError for lone surrogates, which no UTF-8 text holds, and where a damaged tokenizer fails.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"text: character {error.start} is a lone surrogate (U+{ord(text[error.start]):04X}), which is not "
                "valid Unicode; pass text that was decoded as UTF-8"
            ) from None
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            if not _is_library_error(error):
                raise
            raise InputError("text: the bundle's tokenizer fails at it; convert the checkpoint again") from None

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, without special tokens and without the first word's boundary; otherwise unstripped."""
        text = b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self._dummy_prefix else text

    def detokenizer(self, *, continues: bool = False) -> Detokenizer:
        """A fresh streaming decoder for one answer. `continues`: it goes on with a text, so that white space at its
        start is kept."""
        return Detokenizer(self, continues=continues)

    def token_bytes(self, token_id: int) -> bytes:
        """UTF-8 bytes that a token adds to the text: none for special tokens and for ids beyond the vocabulary."""
        if token_id < 0 or token_id in self._special_ids:
            return b""
        piece = self._backend.id_to_token(token_id)
        if piece is None:  # rows that pad the embedding table
            return b""
        if byte := _BYTE_PIECE.fullmatch(piece):
            return bytes.fromhex(byte[1])
        return piece.replace(WORD_BOUNDARY, " ").encode()


class Detokenizer:
    """Turns one answer's tokens into pieces of text as they come, in constant time a token.

    A piece never holds half a character. Joined, the pieces equal the decode of all ids, but for white
    space at its start.
    """

    def __init__(self, tokenizer: Tokenizer, *, continues: bool = False) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._started = continues

    def push(self, token_id: int) -> str:
        """The text that this token makes certain; often a word, sometimes nothing."""
        return self._begun(self._utf8.decode(self._tokenizer.token_bytes(token_id)))

    def finish(self) -> str:
        """What is left at the end: a replacement character where the answer stops within a character."""
        return self._begun(self._utf8.decode(b"", final=True))

    def _begun(self, text: str) -> str:
        if not self._started:
            text = text.lstrip()
            self._started = bool(text)
        return text


class TrailingSpace:
    """Holds back white space that may turn out to be the text's end, until more text follows."""

    def __init__(self) -> None:
        self._held: list[str] = []  # a list, as long runs must not cost a copy each

    def push(self, text: str) -> str:
        """The text that is certain now."""
        certain = text.rstrip()
        space = text[len(certain) :]
        if certain:
            certain = self.release() + certain
        if space:
            self._held.append(space)
        return certain

    def release(self) -> str:
        """The white space that was held back, where something follows that isn't shown."""
        held = "".join(self._held)
        self._held.clear()
        return held


def _open(path: Path) -> tokenizers.Tokenizer:
    try:
        text = read_regular(path, MAX_BYTES).decode()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such tokenizer file; convert the checkpoint again") from None
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{path}: the tokenizer file can't be read as UTF-8 text; convert the checkpoint again"
        ) from None
    try:
        backend = tokenizers.Tokenizer.from_str(text)
    except BaseException as error:
        if not _is_library_error(error):
            raise
        backend = None
    if backend is None or not _knows_unknown(backend):
        raise InputError(
            f"{path}: this is not a whole tokenizer.json ({len(text)} characters); convert the checkpoint again"
        )
    return backend


def _is_library_error(error: BaseException) -> bool:
    """It raises bare Exception, with the parser's inner words, and panics."""
    return isinstance(error, Exception) or type(error).__name__ == PANIC


def _knows_unknown(backend: tokenizers.Tokenizer) -> bool:
    """Whether what stands for unknown text is in the vocabulary: missed only once such text comes."""
    unknown = getattr(backend.model, "unk_token", None)
    return unknown is None or backend.token_to_id(unknown) is not None

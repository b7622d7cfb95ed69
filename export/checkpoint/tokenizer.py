"""sentencepiece's tokenizer.model and the added tokens -> one tokenizers BPE with the same ids.

The runtime then needs neither sentencepiece nor protobuf. Every conversion is held against sentencepiece itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, decoders, models, normalizers

from export.checkpoint.added_tokens import ADDED_TOKENS, added_tokens, unnumbered_tokens
from omnilmm_lite.config import TokenIds
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.json_file import MAX_BYTES, read_json, shown
from omnilmm_lite.files.regular_file import read_regular
from omnilmm_lite.text.tokenizer import WORD_BOUNDARY

MODEL_FILE = "tokenizer.model"

# Scripts, accents, emoji with joiners, numbers and code: what `_probe_texts` varies.
_PROBE_WORDS = (
    "What is interesting about this image? I'm here; don't e\u0301té naïve Straße Ελληνικά привет שלום مرحبا "
    "नमस्ते สวัสดี 你好世界 こんにちは 안녕 𓀀 𠮷 😀 👩\u200d🚀 🇩🇪 ❤\ufe0f 3.14159 1,000,000 2e-10 x²≠½ "
    "def f(x): return {'a':[1,2]}; if(a&&b){c++;} <div\tclass=\"x\"/> https://example.org/?q=1&r=%20 C:\\dir\\n"
)

# Any: protobuf's classes are made at import time.
_ModelProto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
_PieceType = _ModelProto.SentencePiece


class TokenizerMismatchError(OmniLMMError):
    """The converted tokenizer gives other ids or another text than sentencepiece."""

    def __init__(self, what: str, source: object, expected: object, found: object) -> None:
        super().__init__(f"tokenizer: {what} {source!r}: sentencepiece gives {expected!r}, the conversion {found!r}")
        self.source = source
        self.expected = expected
        self.found = found


def convert_tokenizer(folder: str | Path, expected: TokenIds | None = None) -> tokenizers.Tokenizer:
    """The checkpoint's tokenizer as a tokenizers BPE, verified against sentencepiece.

    Reads tokenizer.model and what names the added tokens: the first of `added_tokens`' files, else the names in
    tokenizer_config.json, else config.json's vocab_size. InputError where a file is absent, broken or of a kind that
    isn't supported, and where the special tokens aren't the `expected` ones, those of the model's config: a picture's
    features would go to other tokens' places. TokenizerMismatchError where the result differs from sentencepiece.
    """
    folder = Path(folder)
    model_file = folder / MODEL_FILE
    proto = _read_proto(model_file)
    pieces = [piece.piece for piece in proto.pieces]
    tokenizer = _bpe(proto)
    controls = [piece.piece for piece in proto.pieces if piece.type in (_PieceType.CONTROL, _PieceType.UNKNOWN)]
    added = _added_tokens(folder, pieces)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in controls])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in added.values()])
    for token_id, token in added.items():
        if tokenizer.token_to_id(token) != token_id:
            raise InputError(
                f"{folder}: added token {token!r} has id {token_id}, which leaves a gap after {len(pieces)} pieces; "
                "the added tokens must follow the last piece without gaps"
            )
    found = token_ids(tokenizer)  # an OmniLMM tokenizer has them all
    if expected is not None and found != expected:
        ids = ", ".join(f"{name}={value}" for name, value in vars(found).items() if value != vars(expected)[name])
        wanted = ", ".join(f"{name}={value}" for name, value in vars(expected).items() if value != vars(found)[name])
        raise InputError(
            f"{folder}: the tokenizer's files have {ids}, config.json and what lies beside it {wanted}; download the "
            "checkpoint's files again, added_tokens.json too"
        )
    verify_tokenizer(tokenizer, model_file)
    return tokenizer


def token_ids(tokenizer: tokenizers.Tokenizer) -> TokenIds:
    """Ids of the special tokens that the model gives a meaning; InputError names the first that is missing."""
    names = {"bos": "<s>", "eos": "</s>", "im_patch": "<im_patch>", "im_start": "<im_start>", "im_end": "<im_end>"}
    ids: dict[str, int] = {}
    for field, name in names.items():
        token_id = tokenizer.token_to_id(name)
        if token_id is None:
            raise InputError(f"tokenizer: there is no token {name!r}; this is not an OmniLMM checkpoint's tokenizer")
        ids[field] = token_id
    return TokenIds(**ids)


def verify_tokenizer(tokenizer: tokenizers.Tokenizer, model_file: str | Path) -> None:
    """Compare ids and decoded text with sentencepiece; TokenizerMismatchError names the first difference."""
    try:
        reference = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    except (OSError, RuntimeError):
        raise InputError(f"{model_file}: sentencepiece can't open it; download it again") from None
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True  # sentencepiece knows typed specials as text only
    try:
        for text in _probe_texts():
            expected: list[int] = reference.encode(text)
            found = tokenizer.encode(text, add_special_tokens=False).ids
            if found != expected:
                raise TokenizerMismatchError("ids of", text, expected, found)
            expected_text: str = reference.decode(expected)
            found_text = tokenizer.decode(expected, skip_special_tokens=False)
            if found_text != expected_text:
                raise TokenizerMismatchError("text of", expected, expected_text, found_text)
    finally:
        tokenizer.encode_special_tokens = before


def _probe_texts() -> Iterator[str]:
    """A few hundred texts that reach every part of the conversion."""
    words = _PROBE_WORDS.split()
    yield from ("", " ", "\n", "\t", "\r\n", "  \n  ", WORD_BOUNDARY, "\x00", "\x7f\x1b[0m", "\u00a0\u200b\u3000\ufeff")
    yield from words
    yield from (" ".join(words), "  ".join(words), "".join(words), "\n".join(words))
    for token in ("<s>", "</s>", "<unk>", "<0x0A>", "<0xFF>", "<|user|>\n", "<image>", *ADDED_TOKENS):
        yield from (token, f"a{token}b", f" {token} {token}")
    for character in " \n\ta0=-_.#e\u00e9\u6f22":
        yield from (character * length for length in (2, 3, 5, 7, 16, 33))
    dice = random.Random(0)
    alphabets = ("ab ", "aAbB01 _-", " \n\t{}()[];=+", "".join(map(chr, range(128))), "".join(words) + " ")
    for _ in range(40):
        yield from ("".join(dice.choices(alphabet, k=dice.randint(1, 60))) for alphabet in alphabets)
    yield "".join(map(chr, [*range(0x20, 0x3000, 7), *range(0x3000, 0xD800, 97), *range(0xE000, 0x20000, 101)]))


def _read_proto(path: Path) -> Any:
    """The parsed sentencepiece model, if it is of the kind that converts without loss."""
    proto = _ModelProto()
    try:
        proto.ParseFromString(read_regular(path, MAX_BYTES))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; download the checkpoint's tokenizer files too") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); check the file") from None
    except DecodeError:
        raise InputError(f"{path}: not a sentencepiece model or cut short; download it again") from None
    if not proto.pieces:
        raise InputError(f"{path}: holds no pieces; download it again")
    for number, piece in enumerate(proto.pieces):
        if not isinstance(piece.piece, str):  # protobuf gives bytes where a text is no UTF-8
            raise InputError(f"{path}: piece {number} is no UTF-8 text; download it again")
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    supported = {
        "model_type BPE": trainer.model_type == trainer.BPE,
        "byte_fallback": trainer.byte_fallback,
        "no treat_whitespace_as_suffix": not trainer.treat_whitespace_as_suffix,
        "the identity normaliser": not normalizer.precompiled_charsmap,
        "remove_extra_whitespaces false": not normalizer.remove_extra_whitespaces,
        "escape_whitespaces": normalizer.escape_whitespaces,
        "one unknown piece": sum(piece.type == _PieceType.UNKNOWN for piece in proto.pieces) == 1,
        "no user-defined or unused pieces": all(
            piece.type not in (_PieceType.USER_DEFINED, _PieceType.UNUSED) for piece in proto.pieces
        ),
    }
    for requirement, holds in supported.items():
        if not holds:
            raise InputError(f"{path}: only sentencepiece models with {requirement} are supported; this one is not")
    return proto


def _bpe(proto: Any) -> tokenizers.Tokenizer:
    """The pieces as a BPE model with sentencepiece's normaliser and decoder, without the added tokens."""
    vocab = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _PieceType.NORMAL}
    unknown = next(piece.piece for piece in proto.pieces if piece.type == _PieceType.UNKNOWN)
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=vocab, merges=list(_merges(scores)), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    dummy_prefix = proto.normalizer_spec.add_dummy_prefix
    escape = normalizers.Replace(" ", WORD_BOUNDARY)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend(WORD_BOUNDARY), escape]) if dummy_prefix else escape
    )
    steps: list[Any] = [decoders.Replace(WORD_BOUNDARY, " "), decoders.ByteFallback(), decoders.Fuse()]
    if dummy_prefix:
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def _merges(scores: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Merge rules in the order of their rank: every pair of pieces that makes a piece, best score first.

    sentencepiece has no list of merges: it joins the neighbours whose union has the best score. Pieces outside
    `scores` (control, unknown and byte pieces) can be neither part nor union. Equal scores: sentencepiece takes the
    leftmost pair, which within runs of one character is the pair with the longer left part.
    """
    for piece in sorted(scores, key=scores.__getitem__, reverse=True):
        for split in range(len(piece) - 1, 0, -1):
            left, right = piece[:split], piece[split:]
            if left in scores and right in scores:
                yield left, right


def _added_tokens(folder: Path, pieces: list[str]) -> dict[int, str]:
    """{id: token} of the tokens beyond the pieces, in the order of their ids."""
    config = folder / "config.json"
    vocab_size = read_json(config).get("vocab_size") if config.is_file() else None
    added = _named_tokens(folder, pieces)
    if not added and vocab_size == len(pieces) + len(ADDED_TOKENS):
        added = dict(enumerate(ADDED_TOKENS, start=len(pieces)))
    if not added:
        raise InputError(
            f"{folder}: no file names the added tokens, and vocab_size {shown(vocab_size)} is not {len(pieces)} pieces "
            f"+ {len(ADDED_TOKENS)}; add the checkpoint's added_tokens.json"
        )
    if isinstance(vocab_size, int) and len(pieces) + len(added) > vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {len(pieces)} pieces + {len(added)} added tokens, but vocab_size in "
            f"config.json is {vocab_size}; the tokenizer's files belong to another checkpoint"
        )
    return added


def _named_tokens(folder: Path, pieces: list[str]) -> dict[int, str]:
    """The added tokens that a file names, {id: token}; empty where none does."""
    known = set(pieces)
    for source, listed in added_tokens(folder):
        tokens = {token: token_id for token, token_id in listed.items() if token not in known}
        if wrong := [token_id for token_id in tokens.values() if type(token_id) is not int]:
            raise InputError(f"{source}: {shown(wrong[0])} is no id of an added token; download it again")
        if tokens:
            return {token_id: token for token, token_id in sorted(tokens.items(), key=lambda item: item[1])}
    names = dict.fromkeys(token for token in unnumbered_tokens(folder) if token not in known)
    return dict(enumerate(names, start=len(pieces)))

"""The converted tokenizer against sentencepiece, and streaming detokenisation against whole decodes."""

from __future__ import annotations

import json
import pydoc_data.topics
import random
import shutil
from pathlib import Path
from typing import Any

import mistral_common
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from export.checkpoint.added_tokens import ADDED_TOKENS
from export.checkpoint.tokenizer import TokenizerMismatchError, convert_tokenizer, token_ids, verify_tokenizer
from omnilmm_lite.config import TokenIds
from omnilmm_lite.errors import InputError
from omnilmm_lite.text.tokenizer import Tokenizer, TrailingSpace

MISTRAL_MODEL = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
SPECIALS = ("<s>", "</s>", "<unk>", "<0x0A>", "<0xE2>", *ADDED_TOKENS)
ENGLISH = "\n".join(pydoc_data.topics.topics.values())


def _checkpoint_folder(folder: Path, model_file: Path, vocab_size: int = 32009) -> Path:
    """The tokenizer's part of a checkpoint that names its added tokens nowhere."""
    shutil.copy(model_file, folder / "tokenizer.model")
    (folder / "config.json").write_text(json.dumps({"vocab_size": vocab_size}))
    return folder


def _train(folder: Path, *, model_type: str = "bpe", **options: Any) -> Path:
    """A sentencepiece model of 1,000 pieces that has seen English only."""
    text = folder / "text.txt"
    text.write_text(ENGLISH[:200_000], encoding="utf-8")
    settings: dict[str, Any] = {
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
    }
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "small"),
        model_type=model_type,
        vocab_size=1000,
        minloglevel=2,
        **(settings | options),
    )
    return folder / "small.model"


class Converted:
    """One conversion, its file opened by the runtime, and sentencepiece with the same model."""

    def __init__(self, folder: Path, model_file: Path, vocab_size: int) -> None:
        self.folder = _checkpoint_folder(folder, model_file, vocab_size)
        self.backend = convert_tokenizer(self.folder)
        self.backend.save(str(folder / "tokenizer.json"))
        self.tokenizer = Tokenizer(folder / "tokenizer.json")
        self.reference = sentencepiece.SentencePieceProcessor(model_file=str(model_file))


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return Converted(tmp_path_factory.mktemp("mistral"), MISTRAL_MODEL, 32009)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("small")
    return Converted(folder, _train(folder, allow_whitespace_only_pieces=True), 1009)


@pytest.fixture(scope="module", params=["mistral", "small"])
def converted(request: pytest.FixtureRequest) -> Converted:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Converted)
    return found


def _varied_texts() -> list[str]:
    """1,600 texts: documentation, every script's block, runs, control characters, specials typed as text."""
    dice = random.Random(7)
    texts = [ENGLISH[start : start + dice.randint(1, 200)] for start in dice.sample(range(len(ENGLISH)), 500)]
    texts += ["".join(map(chr, range(start, start + 48))) for start in range(0, 0xD800, 256)]
    texts += ["".join(map(chr, range(start, start + 48))) for start in range(0x1F000, 0x1FB00, 64)]
    texts += [character * length for character in " \n\t-=.0ae_#" for length in range(1, 40)]
    texts += [f"{left}{token}{right}" for token in SPECIALS for left in ("", " ", "a") for right in ("", " ", "a")]
    alphabets = ("ab", "a b", "\u2581 a", "".join(map(chr, range(256))), "<>/s_imunk|0xAF \n")
    texts += ["".join(dice.choices(alphabet, k=dice.randint(1, 80))) for alphabet in alphabets for _ in range(60)]
    return texts


def test_ids_and_text_equal_sentencepiece(converted: Converted) -> None:
    texts = _varied_texts()
    assert len(texts) > 1500
    for text in texts:
        expected = converted.reference.encode(text)
        assert converted.tokenizer.encode_text(text) == expected, text
        assert converted.tokenizer.decode(expected) == converted.reference.decode(expected)


@given(text=st.text())
def test_any_text_round_trips_without_special_ids(converted: Converted, text: str) -> None:
    ids = converted.tokenizer.encode_text(text)
    assert ids == converted.reference.encode(text)
    assert not converted.tokenizer.special_ids.intersection(ids)
    # sentencepiece writes a space as U+2581, so a typed U+2581 comes back as a space.
    assert converted.tokenizer.decode(ids) == text.replace("\u2581", " ")


@given(words=st.lists(st.sampled_from([*SPECIALS, "<|user|>\n", "<image>", " ", "\n", "<", "a"])))
def test_typed_specials_stay_text(converted: Converted, words: list[str]) -> None:
    text = "".join(words)
    ids = converted.tokenizer.encode_text(text)
    assert ids == converted.reference.encode(text)
    assert not converted.tokenizer.special_ids.intersection(ids)


def test_vocabulary_has_the_added_tokens_at_the_end(mistral: Converted) -> None:
    assert token_ids(mistral.backend) == TokenIds(bos=1, eos=2, im_patch=32000, im_start=32001, im_end=32002)
    assert mistral.tokenizer.vocab_size == 32009
    assert mistral.tokenizer.special_ids == {0, 1, 2, *range(32000, 32009)}


def test_model_without_dummy_prefix(tmp_path: Path) -> None:
    converted = Converted(tmp_path, _train(tmp_path, add_dummy_prefix=False), 1009)
    for text in ("The word", " The word", "  two", "\n"):
        ids = converted.tokenizer.encode_text(text)
        assert ids == converted.reference.encode(text)
        assert converted.tokenizer.decode(ids) == text


def test_merges_never_reach_control_pieces(tmp_path: Path) -> None:
    """Control tokens spelled like common words, so that their halves are pieces."""
    converted = Converted(tmp_path, _train(tmp_path, control_symbols=["he", "ing", "tion"]), 1009)
    for text in ("he", "the nothing", "instructions", ENGLISH[:5000]):
        ids = converted.tokenizer.encode_text(text)
        assert ids == converted.reference.encode(text)
        assert not converted.tokenizer.special_ids.intersection(ids)


def test_lone_surrogate_is_refused(mistral: Converted) -> None:
    with pytest.raises(InputError, match=r"character 2 is a lone surrogate \(U\+DCFF\)"):
        mistral.tokenizer.encode_text("ab\udcff")


# Detokenising


@given(data=st.data())
def test_streamed_pieces_join_to_the_decode(converted: Converted, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, converted.tokenizer.vocab_size + 3) | st.integers(0, 300)))
    stream = converted.tokenizer.detokenizer()
    pieces = [stream.push(token_id) for token_id in ids]
    pieces.append(stream.finish())
    whole = converted.tokenizer.decode(ids)
    assert "".join(pieces) == whole.lstrip()
    space = TrailingSpace()
    assert "".join(map(space.push, pieces)) == whole.strip()
    assert whole.rstrip() + space.release() == whole or not whole.strip()


@given(text=st.text(alphabet=st.characters(min_codepoint=0x80, exclude_characters="\u2581\ufffd", codec="utf-8")))
def test_characters_split_over_byte_tokens_come_whole(converted: Converted, text: str) -> None:
    byte_ids = [converted.reference.piece_to_id(f"<0x{byte:02X}>") for byte in text.encode()]
    stream = converted.tokenizer.detokenizer()
    streamed = ""
    for token_id in byte_ids:
        streamed += stream.push(token_id)
        assert text.lstrip().startswith(streamed)  # so it never held U+FFFD or half a character
    assert stream.finish() == ""
    assert streamed == text.lstrip()


def test_white_space_waits_for_text(mistral: Converted) -> None:
    tokenizer = mistral.tokenizer
    newline, eos = tokenizer.encode_text("\n")[-1], 2
    stream, space = tokenizer.detokenizer(), TrailingSpace()
    cat = mistral.reference.piece_to_id("\u2581cat")
    assert [space.push(stream.push(i)) for i in (newline, cat, newline, newline, cat, eos, newline)] == [
        "",
        "cat",
        "",
        "",
        "\n\n cat",
        "",
        "",
    ]
    assert stream.finish() == ""
    assert space.release() == "\n"


def test_answer_cut_within_a_character_ends_with_one_replacement(mistral: Converted) -> None:
    stream = mistral.tokenizer.detokenizer()
    euro = [mistral.reference.piece_to_id(piece) for piece in ("<0xE2>", "<0x82>")]
    assert [stream.push(token_id) for token_id in euro] == ["", ""]
    assert stream.finish() == "\ufffd"


# Broken and unsupported files


# What stands for unknown text is unknown itself: the library fails at the first such text.
UNKNOWN = b'{"model": {"type": "BPE", "unk_token": "[<unk>", "vocab": {"a": 0, "<unk>": 1}, "merges": []}}'
# A merge that makes a longer piece than any there is: the library panics.
PANICS = b'{"model": {"type": "BPE", "vocab": {"ab": 0, "c": 1}, "merges": [["ab", "c"]]}}'


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b'{"model": {"type": "BPE"', PANICS, UNKNOWN])
def test_broken_tokenizer_json_is_one_clear_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer\.json: .*; convert the checkpoint again") as caught:
        Tokenizer(path)
    assert "\n" not in str(caught.value)


def test_special_tokens_that_the_models_config_has_elsewhere(tmp_path: Path) -> None:
    """With nothing but a list of names, the tokenizer goes by their order and the config by the published one."""
    folder = _checkpoint_folder(tmp_path, MISTRAL_MODEL)
    names = ["<im_start>", "<im_end>", "<im_patch>", *ADDED_TOKENS[3:]]
    (folder / "tokenizer_config.json").write_text(json.dumps({"additional_special_tokens": names}))
    (folder / "added_tokens.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"im_patch=32002.*im_patch=32000"):
        convert_tokenizer(folder, TokenIds())
    assert convert_tokenizer(folder, TokenIds(im_patch=32002, im_start=32000, im_end=32001)) is not None


def test_added_tokens_come_from_whichever_file_names_them(tmp_path: Path) -> None:
    folder = _checkpoint_folder(tmp_path, MISTRAL_MODEL, 32064)  # rows that pad the table: no help in counting
    with pytest.raises(InputError, match="no file names the added tokens"):
        convert_tokenizer(folder)
    numbered = [{"id": 32000 + index, "content": token} for index, token in enumerate(ADDED_TOKENS)]
    whole = folder / "tokenizer.json"
    whole.write_text(json.dumps({"added_tokens": [{"id": 1, "content": "<s>"}, *numbered]}))
    assert convert_tokenizer(folder).token_to_id("</quad>") == 32008
    whole.unlink()
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({"additional_special_tokens": ["<s>", *ADDED_TOKENS]}))
    assert convert_tokenizer(folder).token_to_id("</quad>") == 32008
    decoder = {str(32000 + index): {"content": token} for index, token in enumerate(ADDED_TOKENS)}
    config.write_text(json.dumps({"added_tokens_decoder": {"0": {"content": "<unk>"}} | decoder}))
    assert convert_tokenizer(folder).token_to_id("</quad>") == 32008
    added = folder / "added_tokens.json"
    swapped = ("<im_start>", "<im_patch>", *ADDED_TOKENS[2:])
    added.write_text(json.dumps({token: 32000 + index for index, token in reversed([*enumerate(swapped)])}))
    assert token_ids(convert_tokenizer(folder)) == TokenIds(im_start=32000, im_patch=32001)  # added_tokens.json first
    for content, message in (
        ('{"<im_patch>": 32005}', "leaves a gap"),
        ('{"<im_patch>": 32000}', "there is no token '<im_start>'"),
        ('{"<im_patch>": "x"}', "is no id of an added token"),
        ("[1]", "not a list"),
        ("{", "not valid JSON"),
    ):
        added.write_text(content)
        with pytest.raises(InputError, match=message):
            convert_tokenizer(folder)


def test_tokenizer_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = _checkpoint_folder(tmp_path, MISTRAL_MODEL, 1009)
    (folder / "added_tokens.json").write_text(json.dumps({"<im_patch>": 32000}))
    with pytest.raises(InputError, match=r"32000 pieces .* vocab_size in config\.json is 1009"):
        convert_tokenizer(folder)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model_type": "unigram"}, "BPE"),
        ({"byte_fallback": False}, "byte_fallback"),
        ({"normalization_rule_name": "nfkc"}, "identity"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces"),
        ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix"),
        ({"user_defined_symbols": ["<box>"]}, "user-defined"),
    ],
)
def test_unsupported_models_are_refused(tmp_path: Path, options: dict[str, object], named: str) -> None:
    settings: dict[str, object] = {"model_type": "bpe"} | options
    model_type = str(settings.pop("model_type"))
    folder = _checkpoint_folder(tmp_path, _train(tmp_path, model_type=model_type, **settings), 1009)
    with pytest.raises(InputError, match=f"only sentencepiece models with .*{named}"):
        convert_tokenizer(folder)


@pytest.mark.parametrize("kept", [0, 100, 100_000])
def test_cut_model_file_is_refused(tmp_path: Path, kept: int) -> None:
    folder = _checkpoint_folder(tmp_path, MISTRAL_MODEL)
    (folder / "tokenizer.model").write_bytes(MISTRAL_MODEL.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"tokenizer\.model: "):
        convert_tokenizer(folder)


def test_a_piece_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = _checkpoint_folder(tmp_path, MISTRAL_MODEL)
    data = MISTRAL_MODEL.read_bytes()
    assert data.count(b"<0x41>") == 1
    (folder / "tokenizer.model").write_bytes(data.replace(b"<0x41>", b"<0x\xff1>"))
    with pytest.raises(InputError, match=r"tokenizer\.model: piece \d+ is no UTF-8 text; download it again"):
        convert_tokenizer(folder)


def test_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.model: there is no such file"):
        convert_tokenizer(tmp_path)


def test_verification_names_the_first_difference(mistral: Converted) -> None:
    data = json.loads(mistral.backend.to_str())
    data["normalizer"]["normalizers"].pop(0)  # no word boundary at the start
    wrong = tokenizers.Tokenizer.from_str(json.dumps(data))
    with pytest.raises(TokenizerMismatchError) as caught:
        verify_tokenizer(wrong, MISTRAL_MODEL)
    assert isinstance(caught.value.source, str)
    assert caught.value.expected == mistral.reference.encode(caught.value.source)
    assert wrong.encode_special_tokens is False  # left as it was

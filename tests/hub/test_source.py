"""What a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.home.model_name import is_model_name
from omnilmm_lite.hub.remote_file import RemoteFile, check_path
from omnilmm_lite.hub.source import Hub, Source

NAME = "openbmb/OmniLMM-12B"
HF, MS, MIRROR, FOLDER = Hub.HUGGING_FACE, Hub.MODELSCOPE, Hub.MIRROR_URL, Hub.FOLDER


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (NAME, Source(HF, NAME)),
        (f"hf:{NAME}", Source(HF, NAME)),
        (f"ms:{NAME}", Source(MS, NAME)),
        (f"ModelScope:{NAME}", Source(MS, NAME)),
        (f"https://huggingface.co/{NAME}", Source(HF, NAME)),
        (f"https://huggingface.co/{NAME}/tree/main", Source(HF, NAME)),
        (f"https://modelscope.cn/models/{NAME}/summary", Source(MS, NAME)),
        ("https://example.org/m/OmniLMM-12B/?a=b#c", Source(MIRROR, "https://example.org/m/OmniLMM-12B")),
        ("./openbmb/OmniLMM-12B", Source(FOLDER, "./openbmb/OmniLMM-12B")),
        ("/models/x", Source(FOLDER, "/models/x")),
        ("~/models/x", Source(FOLDER, "~/models/x")),
        (".", Source(FOLDER, ".")),
    ],
)
def test_what_names_stand_for(text: str, source: Source) -> None:
    assert Source.parse(text) == source


def test_a_folder_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NAME).mkdir(parents=True)
    assert Source.parse(NAME) == Source(FOLDER, NAME)
    assert Source.parse(NAME, HF) == Source(HF, NAME)
    with pytest.raises(InputError, match="--revision"):
        Source.parse(NAME, revision="main")


@pytest.mark.parametrize(
    ("text", "hub", "revision"),
    [
        ("OmniLMM-12B", None, None),
        ("", None, None),
        ("a/b/c", HF, None),
        ("../b", HF, None),
        ("a/..", None, None),
        ("a/b--c", None, None),
        ("a/b\n", None, None),
        ("hf:", None, None),
        ("hf:a/b", MS, None),
        (NAME, None, "../x"),
        (NAME, None, "-x"),
        (NAME, None, ""),
        ("https://", None, None),
        ("https://[x/y", None, None),
        ("https://a.org:port/x", None, None),
        ("https://a.org/x", HF, None),
        ("https://a.org/x", None, "main"),
        ("https://huggingface.co/openbmb", None, None),
    ],
)
def test_what_stands_for_nothing(text: str, hub: Hub | None, revision: str | None) -> None:
    with pytest.raises(InputError) as raised:
        Source.parse(text, hub, revision)
    assert "\n" not in str(raised.value)


def test_a_mirror_s_password_is_shown_nowhere() -> None:
    source = Source.parse("https://me:secret@example.org/x")
    assert source.name == "https://me:secret@example.org/x"
    assert source.shown == "https://example.org/x"


@given(st.text(max_size=60))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        source = Source.parse(text)
    except InputError:
        return
    assert is_model_name(source.short_name)


OUTSIDE = ["", "/", "/a", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/"]
NO_PATHS = [*OUTSIDE, "C:a", "a\\b", "a*", 'a"b', "a<b", "a|b", "a?", "x.", "x "]


@pytest.mark.parametrize("path", [*NO_PATHS, "con", "a/CON.txt", "lpt1", "a\nb", "a\0b", "x" * 201])
def test_paths_that_some_system_takes_for_another(path: str) -> None:
    with pytest.raises(InputError):
        check_path(path)
    check_path("a/model-00001-of-00005.safetensors")


@given(st.text(max_size=30) | st.from_regex(r"[a-z./\\]{1,12}", fullmatch=True))
def test_an_accepted_path_stays_below_its_folder(path: str) -> None:
    try:
        check_path(path)
    except InputError:
        return
    root = Path("models").absolute()
    place = root / path
    assert place.is_relative_to(root) and place != root
    assert ".." not in place.parts
    assert RemoteFile(path, 0).path == path

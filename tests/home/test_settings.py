"""Settings: what goes before what, and one line for what can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.home.settings import SETTINGS, Kind, Origin, read_settings, unknown_variables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(file: Path) -> None:
    file.write_text("threads = 1\ncontext = 1\ndevice = 'cpu'\n", encoding="utf-8")
    variables = {"OMNILMM_THREADS": "2", "OMNILMM_CONTEXT": "2"}
    found = read_settings(file, variables, {"threads": 3})
    shown = {key: (found[key].value, found[key].where) for key in ("threads", "context", "device", "port")}
    assert shown == {
        "threads": (3, "--threads"),
        "context": (2, "OMNILMM_CONTEXT"),
        "device": ("cpu", str(file)),
        "port": (8000, "default"),
    }
    assert found["model"].value is None


def test_without_a_file_everything_is_the_default(file: Path) -> None:
    found = read_settings(file, {}, {})
    assert {each.origin for each in found.values()} == {Origin.DEFAULT}
    assert list(found) == [setting.key for setting in SETTINGS]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("on", True), ("TRUE", True), ("yes", True), ("0", False), ("off", False), ("no", False)],
)
def test_switches_in_variables(file: Path, text: str, value: bool) -> None:
    assert read_settings(file, {"OMNILMM_DRAFTS": text}, {})["drafts"].value is value


def test_an_empty_variable_is_none(file: Path) -> None:
    assert read_settings(file, {"OMNILMM_THREADS": ""}, {})["threads"].origin is Origin.DEFAULT


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("thread = 4", "thread: there is no such setting; did you mean threads?"),
        ("top_k = 4", "top_k: there is no such setting; did you mean top-k?"),
        ("banana = 4", "banana: there is no such setting; `omnilmm-lite config` lists them"),
        ("[serve]\nport = 1", "serve: there is no such setting; settings stand in no table"),
        ("'' = 1", "'': there is no such setting"),
        ("model = 'x'", "model: the file is not the place for it; use `omnilmm-lite models default NAME`"),
        ("threads = 'four'", "threads: 'four' is not a whole number"),
        ("threads = 4.0", "threads: 4.0 is not a whole number"),
        ("threads = true", "threads: true is not a whole number"),
        ("threads = 1979-05-27", "threads: 1979-05-27 is not a whole number"),
        ("threads = 2000000", "threads: 2000000 is out of range; give 1 to 1024"),
        ("threads = 0x" + "f" * 6000, "threads: a number of more than 20 digits is out of range"),
        ("temperature = 0x" + "f" * 6000, "temperature: a number of more than 20 digits is out of range"),
        ("device = 0x" + "f" * 6000, "device: a number of more than 20 digits is out of range"),
        ("seed = " + "1" * 6000, "this is no TOML"),
        ('api-key-file = "key\\u0000"', "api-key-file: 'key\\x00' can't be"),
        ("threads = 0", "threads: 0 is out of range; give 1 to 1024"),
        ("port = 65536", "port: 65536 is out of range; give 0 to 65535"),
        ("drafts = 1", "drafts: 1 is not true or false"),
        ("temperature = -1", "temperature: -1 is out of range; give 0"),
        ("temperature = nan", "temperature: nan is out of range"),
        ("top-p = '0.9'", "top-p: '0.9' is not a number"),
        ("device = ''", "device: '' can't be; leave it out"),
        ("device = ", "this is no TOML"),
        ("a" * 300, "this is no TOML"),
    ],
)
def test_one_line_names_the_file_and_the_key(file: Path, written: str, message: str) -> None:
    file.write_text(written, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_settings(file, {}, {})
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_or_can_t_be_read(file: Path) -> None:
    file.write_bytes(b"device = '\xff'")
    with pytest.raises(InputError, match="this is no TOML"):
        read_settings(file, {}, {})
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match="this is a folder, where a file is needed"):
        read_settings(file, {}, {})


def test_a_mark_that_editors_put_in_front_is_passed_over(file: Path) -> None:
    file.write_text("threads = 3\r\n", encoding="utf-8-sig")
    assert read_settings(file, {}, {})["threads"].value == 3


def test_a_file_without_an_end_is_refused(file: Path) -> None:
    file.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="is larger than 1 MB"):
        read_settings(file, {}, {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("OMNILMM_THREADS", "many", "OMNILMM_THREADS: 'many' is not a whole number"),
        ("OMNILMM_GREEDY", "perhaps", "OMNILMM_GREEDY: 'perhaps' is not true or false"),
        ("OMNILMM_TOP_P", "2", "OMNILMM_TOP_P: 2.0 is out of range"),
    ],
)
def test_a_bad_variable_is_named(file: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_settings(file, {name: text}, {})


def test_variables_that_mean_nothing(file: Path) -> None:
    variables = {"OMNILMM_THREAD": "4", "OMNILMM_BANANA": "", "OMNILMM_HOME": "x", "OMNILMM_API_KEY": "k", "PATH": ""}
    assert unknown_variables(variables) == [
        "OMNILMM_BANANA: there is no such variable; `omnilmm-lite config` lists them",
        "OMNILMM_THREAD: there is no such variable; did you mean OMNILMM_THREADS?",
    ]


def test_greedy_gives_way_to_a_temperature_that_is_set_nearer(file: Path) -> None:
    """Else `--temperature 1` would do nothing where the file says `greedy = true`."""
    file.write_text("greedy = true\ntemperature = 0.5\n", encoding="utf-8")
    assert read_settings(file, {}, {})["greedy"].value is True
    assert read_settings(file, {}, {"temperature": 1.0})["greedy"].value is False
    assert read_settings(file, {"OMNILMM_TEMPERATURE": "1"}, {})["greedy"].value is False
    assert read_settings(file, {"OMNILMM_TEMPERATURE": "1"}, {"greedy": True})["greedy"].value is True


def test_a_key_in_a_variable_goes_before_a_key_s_file_in_the_settings(file: Path) -> None:
    file.write_text("api-key-file = 'key'\n", encoding="utf-8")
    key = {"OMNILMM_API_KEY": "secret"}
    assert read_settings(file, {}, {})["api-key-file"].value == "key"
    assert read_settings(file, key, {})["api-key-file"].value is None
    assert read_settings(file, key, {"api-key-file": "other"})["api-key-file"].value == "other"


SCALARS = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.text("abc'\\ \t", max_size=9))


@given(st.dictionaries(st.sampled_from([setting.key for setting in SETTINGS]), SCALARS, max_size=4))
def test_whatever_the_file_says_is_taken_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    import json

    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()), encoding="utf-8")
    try:
        found = read_settings(file, {}, {})
    except InputError as error:
        assert str(file) in str(error) and "\n" not in str(error)
    else:
        assert all(found[key].value == value or found[key].origin is Origin.DEFAULT for key, value in values.items())


def test_every_setting_is_of_one_kind() -> None:
    assert {setting.kind for setting in SETTINGS} == set(Kind)

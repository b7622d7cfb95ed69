"""Models by name: what is found, what a name may be, and what a kill leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.home.chosen_model import choose_model, is_builtin
from omnilmm_lite.home.folder import home_folder
from omnilmm_lite.home.model_name import is_model_name
from omnilmm_lite.home.model_record import ModelKind, ModelRecord
from omnilmm_lite.home.models import ModelStore

BUNDLE = ModelRecord(ModelKind.BUNDLE)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def made(store: ModelStore, name: str) -> Path:
    folder = store.folder(name)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    return folder


# ---- names ----


@pytest.mark.parametrize("name", ["OmniLMM-12B", "a", "x.y_z-1", "7b", "console", "tiny2"])
def test_names(name: str) -> None:
    assert is_model_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "../x", "~", ".x", "-x", "a b", "a\n", "é", "tiny", "TINY", "NUL", "com1.x",
     "x.json", "x.JSON", "x.", "a" * 101, "a:b", "a\0"],
)  # fmt: skip
def test_names_that_no_model_may_have(name: str, store: ModelStore) -> None:
    assert not is_model_name(name)
    for refuse in (store.folder, store.remove):
        with pytest.raises(InputError):
            refuse(name)
    with pytest.raises(InputError):
        store.add(name, BUNDLE)
    assert store.find(name) is None


@given(st.text(max_size=30))
def test_no_name_leaves_the_folder(name: str) -> None:
    if is_model_name(name):
        assert (Path("/models") / name).parent == Path("/models")
        assert (Path("/models") / name).name == name


# ---- finding ----


def test_a_folder_is_a_model_and_so_is_a_record_that_leads_to_one(store: ModelStore, tmp_path: Path) -> None:
    own = made(store, "own")
    store.add("own", ModelRecord(ModelKind.BUNDLE, origin="a hub"))
    made(store, "found")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store.add("linked", ModelRecord(ModelKind.CHECKPOINT, elsewhere))
    (store.models_folder / ".hidden").mkdir()
    (store.models_folder / "notes.txt").touch()
    assert store.names() == ["found", "linked", "own"]
    model = store.get("own")
    assert (model.folder, model.record.origin, model.is_in_store) == (own, "a hub", True)
    assert store.get("found").record == BUNDLE
    linked = store.get("linked")
    assert (linked.folder, linked.kind, linked.is_in_store) == (elsewhere, ModelKind.CHECKPOINT, False)


def test_an_empty_home(store: ModelStore) -> None:
    assert (store.names(), store.default(), store.find("any")) == ([], None, None)
    assert not store.home.exists()


def test_the_nearest_name_is_offered(store: ModelStore) -> None:
    made(store, "OmniLMM-12B")
    with pytest.raises(InputError, match="omnilm-12b: there is no such model, did you mean OmniLMM-12B"):
        store.get("omnilm-12b")
    assert store.nearest("openbmb/OmniLMM-12B") == "OmniLMM-12B"
    assert store.nearest("quite another") is None


def test_a_folder_that_is_gone_is_said_and_can_be_forgotten(store: ModelStore, tmp_path: Path) -> None:
    store.add("gone", ModelRecord(ModelKind.BUNDLE, tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere is gone; `omnilmm-lite models remove gone` forgets it"):
        store.get("gone")
    store.remove("gone")
    assert store.names() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "its version is 9"),
        ({"kind": "engine"}, "kind: 'engine' is not one of bundle, checkpoint"),
        ({"folder": "relative"}, "folder: 'relative' is no absolute path"),
        ({"folder": "/a\0b"}, "is no absolute path"),
        ({"folder": 7}, "folder: 7 is no text"),
        ({"origin": []}, r"origin: \[\] is no text"),
    ],
)
def test_a_damaged_record_is_named(store: ModelStore, change: dict[str, object], message: str) -> None:
    store.add("damaged", BUNDLE)
    file = store.models_folder / "damaged.json"
    file.write_text(json.dumps(BUNDLE.to_dict() | change), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        store.find("damaged")
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_a_record_is_read_as_it_was_written(store: ModelStore, tmp_path: Path) -> None:
    record = ModelRecord(ModelKind.CHECKPOINT, tmp_path, "hub/name@1", "huggingface:a/b", tmp_path / "from")
    store.add("whole", record)
    assert store.get("whole").record == record


# ---- the default, and which model a command opens ----


def test_the_default(store: ModelStore) -> None:
    folder = made(store, "one")
    assert choose_model(None, store) is None
    store.set_default("one")
    assert (store.default(), choose_model(None, store)) == ("one", str(folder))
    with pytest.raises(InputError, match="two: there is no such model"):
        store.set_default("two")
    assert store.default() == "one"
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="one: the default model is gone"):
        choose_model(None, store)
    (store.home / "default.json").write_text('{"model": "../x"}', encoding="utf-8")
    with pytest.raises(InputError, match="it names no model"):
        store.default()


def test_a_folder_goes_before_a_name(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(store, "one")
    monkeypatch.chdir(tmp_path)
    assert choose_model("one", store) == str(folder)
    (tmp_path / "one").mkdir()
    assert choose_model("one", store) == "one"
    assert choose_model("tiny", store) == "tiny"
    assert choose_model("no/such", store) == "no/such"  # for whom opens it to refuse
    with pytest.raises(InputError, match="ones: there is no such model, did you mean one"):
        choose_model("ones", store)


def test_what_opens_the_built_in_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_builtin(None) and is_builtin("tiny") and not is_builtin(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert not is_builtin("tiny")


# ---- writing ----


def test_names_that_differ_in_capitals_alone_are_one_on_some_systems(store: ModelStore) -> None:
    store.add("Model", ModelRecord(ModelKind.BUNDLE))
    store.add("Model", ModelRecord(ModelKind.BUNDLE, origin="anew"))
    with pytest.raises(InputError, match="there is a model Model already"):
        store.add("model", BUNDLE)


def test_removing_takes_the_folder_of_the_store_and_no_other(store: ModelStore, tmp_path: Path) -> None:
    own, elsewhere = made(store, "own"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    store.add("linked", ModelRecord(ModelKind.CHECKPOINT, elsewhere))
    store.set_default("own")
    store.remove("own")
    store.remove("linked")
    assert (own.exists(), elsewhere.exists(), store.names(), store.default()) == (False, True, [], None)
    with pytest.raises(InputError, match="own: there is no such model"):
        store.remove("own")
    assert [path.name for path in store.models_folder.iterdir()] == []


def test_a_link_to_a_folder_is_removed_without_what_it_leads_to(store: ModelStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "weights").touch()
    store.models_folder.mkdir(parents=True)
    store.folder("link").symlink_to(target)
    store.remove("link")
    assert (target / "weights").exists()
    assert store.names() == []


def test_what_a_killed_removal_left_goes_with_the_next_write(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(store, "big")

    def killed(path: Path, ignore_errors: bool) -> None:
        if path.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove("big")
    assert not folder.exists() and any(store.models_folder.iterdir())
    (store.home / ".77-0123456789abcdef.partial").touch()
    assert store.names() == []
    store.add("next", BUNDLE)
    left = {path.name for folder in (store.home, store.models_folder) for path in folder.iterdir()}
    assert left == {"models", "next.json"}


def test_a_home_that_can_t_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"this folder can't be made .*; set OMNILMM_HOME to one that can be written"):
        ModelStore(tmp_path / "file").add("mine", BUNDLE)


def test_who_writes_at_the_same_time_is_named(store: ModelStore) -> None:
    made(store, "one")
    with sole_owner(store.folder("one")), pytest.raises(InputError, match="another run is writing there"):
        store.remove("one")
    assert store.names() == ["one"]


# ---- the folder ----


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMNILMM_HOME", str(tmp_path))
    assert home_folder() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMNILMM_HOME", "relative")
    assert home_folder() == tmp_path / "relative"
    monkeypatch.setenv("OMNILMM_HOME", "")
    assert home_folder().is_absolute() and home_folder().name == "omnilmm-lite"

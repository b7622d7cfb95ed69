"""`models` and `config`: what they list, what goes when something is removed, and what is asked first."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from omnilmm_lite.home.model_record import ModelKind, ModelRecord
from omnilmm_lite.home.models import ModelStore
from tests.command_line import Run, Terminal, edit, refused


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# ---- models ----


def test_an_empty_list_says_what_to_do(run: Run, home: Path) -> None:
    listed = run("models")
    assert (listed.code, listed.out, listed.err.count("\n")) == (0, "", 1)
    assert "`omnilmm-lite setup` gets one" in listed.err and str(home) in listed.err
    assert run("models", "--json").json == {"folder": str(home / "models"), "models": []}


def test_the_list(run: Run, store: ModelStore, model: Path, tmp_path: Path) -> None:
    edit(model, parity={"quality": {"tokens": 9, "mean_kld": 0.0125, "top1_agreement": 0.975}})
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "weights").write_bytes(b"12345")
    store.add("plain", ModelRecord(ModelKind.CHECKPOINT, checkpoint))
    store.set_default("mine")
    mine, plain = run("models", "--json").json["models"]
    assert mine == {
        "name": "mine", "default": True, "kind": "bundle", "size": size(model), "preset": "reference", "target": "cpu",
        "origin": "a-hub/mine@1", "mean_kld": 0.0125, "top1_agreement": 0.975, "folder": str(model),
    }  # fmt: skip
    assert (plain["name"], plain["default"], plain["kind"], plain["size"]) == ("plain", False, "checkpoint", 5)
    lines = [line for line in run("models").out.splitlines() if "mine" in line]
    assert all(word in lines[0] for word in ("*", "reference", "0.0125", "97.5%", "a-hub/mine@1"))


def test_a_model_that_can_t_be_read_hides_no_other(run: Run, store: ModelStore, model: Path) -> None:
    store.folder("broken").mkdir()
    (store.models_folder / "worse.json").write_text("[", encoding="utf-8")
    listed = run("models", "--json")
    assert [row["name"] for row in listed.json["models"]] == ["mine"]
    assert ["broken" in line or "worse" in line for line in listed.err.splitlines()] == [True, True]


def test_the_path_is_for_scripts(run: Run, store: ModelStore, model: Path) -> None:
    assert run("models", "path", "mine").out == f"{model}\n"
    assert run("models", "path").out == f"{store.models_folder}\n"
    assert "did you mean mine?" in refused(run("models", "path", "main"))


def test_the_default_mark(run: Run, store: ModelStore, model: Path) -> None:
    assert run("models", "default", "mine").code == 0
    assert store.default() == "mine"
    assert "did you mean mine?" in refused(run("models", "default", "mime"))


def whole_making(home: Path, store: ModelStore, name: str) -> tuple[Path, Path]:
    """What a finished setup leaves beside the model: its work folder, and the checkpoint that it fetched."""
    work, checkpoint = home / "work" / name, home / "checkpoints" / "owner" / "fetched"
    for folder, count in ((work, 1000), (checkpoint, 2000)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").write_bytes(bytes(count))
    store.add(name, ModelRecord(ModelKind.BUNDLE, origin="a-hub/mine@1", checkpoint=checkpoint))
    return work, checkpoint


def test_removing_says_what_goes_and_asks(run: Run, home: Path, store: ModelStore, model: Path) -> None:
    work, checkpoint = whole_making(home, store, "mine")
    store.set_default("mine")
    refused_answer = run("models", "remove", "mine", stdin=Terminal("no\n"))
    assert (refused_answer.code, model.is_dir(), work.is_dir()) == (1, True, True)
    assert all(f"{folder}: " in refused_answer.err for folder in (model, work, checkpoint))
    assert "remove mine? [y/N]" in refused_answer.err
    freed = size(model) + 3000
    assert run("models", "remove", "mine", stdin=Terminal("y\n")).err.endswith(f"mine: {freed / 1e6:.1f} MB freed\n")
    assert not any(folder.exists() for folder in (model, work, checkpoint))
    assert (store.names(), store.default()) == ([], None)


def test_removing_asks_nobody_where_nobody_is(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    answer = run("models", "remove", "mine", stdin=io.StringIO("y\n"))
    assert answer.code == 2 and "`omnilmm-lite models remove mine --yes` goes on" in answer.err
    assert model.is_dir()
    monkeypatch.setattr(sys, "stdin", None)
    assert run("models", "remove", "mine", "--yes").code == 0
    assert not model.exists()
    assert "there is no such model" in refused(run("models", "remove", "mine", "--yes"))


def test_freeing_keeps_the_model(run: Run, home: Path, store: ModelStore, model: Path) -> None:
    work, checkpoint = whole_making(home, store, "mine")
    quantized = checkpoint.with_name(f"{checkpoint.name}.nf4")
    quantized.mkdir()
    assert run("models", "free", "mine", "--yes").err.endswith("mine: 3.0 kB freed\n")
    assert (work.exists(), checkpoint.exists(), quantized.exists(), model.is_dir()) == (False, False, False, True)
    assert run("models", "free", "mine").code == 0  # nothing is left to ask about


def test_what_others_use_stays(run: Run, home: Path, store: ModelStore, model: Path, tmp_path: Path) -> None:
    """A checkpoint that another model was made from, and one in a cache that all programs share."""
    work, checkpoint = whole_making(home, store, "mine")
    store.folder("other").mkdir()
    store.add("other", ModelRecord(ModelKind.BUNDLE, checkpoint=checkpoint))
    freed = run("models", "free", "mine", "--yes")
    assert (work.exists(), checkpoint.exists()) == (False, True)
    assert f"{checkpoint}, which it was made from, stays" in freed.err
    cached = tmp_path / "hub" / "models--openbmb--OmniLMM-12B" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    store.add("mine", ModelRecord(ModelKind.BUNDLE, checkpoint=cached))
    assert "`hf cache rm model/openbmb/OmniLMM-12B` removes it" in run("models", "remove", "mine", "--yes").err
    assert cached.is_dir()


def test_damaged_files_hide_no_model(run: Run, home: Path, store: ModelStore, model: Path) -> None:
    """And none of them is there to be downloaded again."""
    (home / "default.json").write_text("{", encoding="utf-8")
    listed = run("models", "--json")
    assert (listed.code, [row["name"] for row in listed.json["models"]]) == (0, ["mine"])
    assert listed.err.endswith("`omnilmm-lite models default NAME` writes it anew\n")
    (store.models_folder / "mine.json").write_text("{", encoding="utf-8")
    listed = run("models")
    assert listed.err.endswith("; remove it\n")
    assert "no models yet" not in listed.err


# ---- config ----


def test_config_shows_each_value_and_its_place(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    file = home / "settings.toml"
    file.write_text("threads = 3\n", encoding="utf-8")
    monkeypatch.setenv("OMNILMM_PORT", "9000")
    monkeypatch.setenv("OMNILMM_PROT", "9000")
    shown = run("config", "--json")
    settings = shown.json["settings"]
    assert shown.err == "OMNILMM_PROT: there is no such variable; did you mean OMNILMM_PORT?\n"
    assert settings["threads"] == {"value": 3, "origin": "file", "where": str(file)}
    assert settings["port"] == {"value": 9000, "origin": "variable", "where": "OMNILMM_PORT"}
    assert settings["drafts"] == {"value": False, "origin": "default", "where": "default"}
    lines = run("config").out.splitlines()
    assert lines[0] == f"settings file: {file}"
    assert len(lines) == 1 + len(settings)
    file.write_text("thread = 3\n", encoding="utf-8")
    assert "did you mean threads?" in refused(run("config"))


def test_config_shows_the_default_model(run: Run, home: Path, store: ModelStore, model: Path) -> None:
    assert json.loads(run("config", "--json").out)["settings"]["model"]["value"] is None
    store.set_default("mine")
    found = run("config", "--json").json["settings"]["model"]
    assert found == {"value": "mine", "origin": "file", "where": str(home / "default.json")}

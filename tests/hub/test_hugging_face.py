"""Models of a hub that speaks Hugging Face's interface, held against Hugging Face's own library."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, scan_cache_dir, snapshot_download

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.home.model_record import ModelKind
from omnilmm_lite.hub import choice
from omnilmm_lite.hub.destination import CacheDestination
from omnilmm_lite.hub.pull import NotWantedError, Pulled, pull
from omnilmm_lite.hub.source import Source
from tests.hub.conftest import Heard, checkpoint_files, noise
from tests.hub.local_hub import TOKEN, Fault, LocalHub, sha256
from tests.paths import ROOT

NAME = "somebody/a-model"
BIN = "pytorch_model.bin"
NEEDED = {
    "config.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    BIN,
}


def fetch(name: str = NAME, revision: str | None = None, to: Path | None = None, heard: Heard | None = None) -> Pulled:
    return pull(Source.parse(name, revision=revision), heard or Heard(), to)


def refusal(name: str = NAME, revision: str | None = None) -> str:
    with pytest.raises(OmniLMMError) as raised:
        fetch(name, revision)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_needed_files_lie_in_the_cache_as_the_library_has_them(hub: LocalHub) -> None:
    files = checkpoint_files()
    repo = hub.add(NAME, files)
    heard = Heard()
    pulled = fetch(heard=heard)
    assert pulled.kind is ModelKind.CHECKPOINT
    assert pulled.origin == f"127.0.0.1:{hub.port}/{NAME}@{repo.commit}"
    assert {path.name for path in pulled.folder.iterdir()} == NEEDED
    assert all((pulled.folder / name).read_bytes() == files[name] for name in NEEDED)
    assert heard.notes[0] == f"connecting to 127.0.0.1:{hub.port}"
    assert heard.bytes == heard.plans[0].size == heard.plans[0].missing == sum(len(files[name]) for name in NEEDED)
    assert heard.plans[0].config == files["config.json"]
    # the library finds it where it looks, and has nothing to fetch
    hub.requests.clear()
    assert Path(snapshot_download(NAME, local_files_only=True, endpoint=hub.address)) == pulled.folder
    found = hf_hub_download(NAME, BIN, endpoint=hub.address)
    assert Path(found) == pulled.folder / BIN
    assert Path(found).resolve() == pulled.folder.parent.parent / "blobs" / sha256(files[BIN])
    assert not hub.asked("resolve", "GET")
    report = scan_cache_dir(constants.HF_HUB_CACHE)
    assert not report.warnings
    assert [(repo.repo_id, repo.nb_files) for repo in report.repos] == [(NAME, len(NEEDED))]


def test_what_the_library_has_fetched_is_used_where_it_lies(hub: LocalHub) -> None:
    hub.add(NAME, checkpoint_files())
    there = {hf_hub_download(NAME, name, endpoint=hub.address) for name in sorted(NEEDED)}
    hub.requests.clear()
    heard = Heard()
    pulled = fetch(heard=heard)
    assert {str(path) for path in pulled.folder.iterdir()} == there
    assert (heard.plans[0].missing, heard.bytes) == (0, heard.plans[0].size)
    assert not hub.asked("/lfs/")


def test_a_new_version_fetches_only_what_has_changed(hub: LocalHub) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    first = fetch()
    hub.add(NAME, files | {"config.json": files["config.json"] + b" "})
    hub.requests.clear()
    heard = Heard()
    second = fetch(heard=heard)
    assert second.folder != first.folder
    assert heard.plans[0].missing == len(files["config.json"]) + 1
    assert not hub.asked("/lfs/")
    assert (second.folder / BIN).samefile(first.folder / BIN)


def test_safetensors_are_preferred_where_they_are_whole(hub: LocalHub) -> None:
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    shards = {"model-1.safetensors": noise(3000, 1), "model-2.safetensors": noise(3000, 2)}
    both = checkpoint_files() | {"model.safetensors.index.json": index} | shards
    hub.add(NAME, both)
    names = {path.name for path in fetch().folder.iterdir()}
    assert names == NEEDED - {BIN} | {"model.safetensors.index.json", *shards}
    del both["model-2.safetensors"]
    hub.add(NAME, both)
    assert {path.name for path in fetch().folder.iterdir()} == NEEDED
    del both[BIN]
    hub.add(NAME, both)
    assert "model.safetensors.index.json lists model-2.safetensors" in refusal()


@pytest.mark.parametrize("absent", ["config.json", "tokenizer.model", BIN])
def test_what_is_no_model_of_ours_is_refused_before_anything_is_fetched(hub: LocalHub, absent: str) -> None:
    files = checkpoint_files()
    del files[absent]
    hub.add(NAME, files)
    assert absent in refusal()
    assert not hub.asked("/lfs/")


@pytest.mark.parametrize(
    "shard", ["../pytorch.safetensors", "/etc/x.safetensors", "C:x.safetensors", "a/b.safetensors", "x.bin"]
)
def test_an_index_names_files_beside_it_alone(hub: LocalHub, shard: str) -> None:
    index = f'{{"weight_map": {{"a": "{shard}"}}}}'.encode()
    files = checkpoint_files() | {"model.safetensors.index.json": index, shard: b"x"}
    hub.add(NAME, files)
    assert shard in refusal()


@pytest.mark.parametrize(
    "wrong", [{"size": -1}, {"size": 1 << 50}, {"blobId": "../../x"}, {"size": None}, {"size": "1"}]
)
def test_an_announcement_that_can_not_be_is_refused(hub: LocalHub, wrong: dict[str, object]) -> None:
    hub.add(NAME, checkpoint_files())
    hub.announced["config.json"] = wrong
    assert "config.json" in refusal()


# ---- going on ----


def test_a_stopped_download_goes_on_where_it_was(hub: LocalHub) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)

    class Stops(Heard):
        def received(self, count: int) -> None:
            super().received(count)
            if self.bytes > 150_000:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(heard=Stops())
    partial = Path(constants.HF_HUB_CACHE) / "models--somebody--a-model" / "blobs" / f"{sha256(files[BIN])}.incomplete"
    begun = partial.stat().st_size
    assert 0 < begun < len(files[BIN])
    hub.requests.clear()
    heard = Heard()
    pulled = fetch(heard=heard)
    assert hub.asked("/lfs/")[0].headers["Range"] == f"bytes={begun}-"
    assert (pulled.folder / BIN).read_bytes() == files[BIN]
    assert heard.plans[0].missing == len(files[BIN]) - begun
    assert heard.bytes == heard.plans[0].size
    assert not partial.exists()


def test_a_finished_file_that_has_not_got_its_name_is_not_fetched_again(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, checkpoint_files())

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CacheDestination, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    hub.requests.clear()
    fetch()
    assert len(hub.asked("/resolve/")) == len(NEEDED) - 1 + 1  # the first isn't, but config.json is read for the plan


def test_without_links_the_files_themselves_have_the_names(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: object, target_is_directory: bool = False) -> None:
        raise OSError("a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refused)
    files = checkpoint_files()
    hub.add(NAME, files)
    folder = fetch().folder
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (folder / BIN).read_bytes() == files[BIN]
    assert not list((folder.parent.parent / "blobs").iterdir())
    assert Path(hf_hub_download(NAME, BIN, endpoint=hub.address)) == folder / BIN


# ---- without the hub ----


def test_offline_takes_what_is_whole_in_the_cache(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, checkpoint_files())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    pulled = fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert fetch() == pulled
    assert not hub.requests
    (pulled.folder / BIN).unlink()
    assert "HF_HUB_OFFLINE" in refusal()


def test_a_hub_that_nobody_answers_for(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, checkpoint_files())
    pulled = fetch()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        heard = Heard()
        assert fetch(heard=heard).folder == pulled.folder
        assert "the version that is in the cache is taken" in heard.notes[-1]
        assert "no connection" in refusal("somebody/another")
    monkeypatch.setattr(constants, "ENDPOINT", "http://no-such-host.invalid")
    assert "can't be looked up" in refusal("somebody/another")


def test_another_program_at_the_address(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("a/b", {"api/models/somebody/a-model": b"<html>"})
    monkeypatch.setattr(constants, "ENDPOINT", f"{hub.address}/mirror/a/b")
    assert "is HF_ENDPOINT right?" in refusal()


# ---- whom it is for ----


def test_models_that_are_not_there_or_not_for_everybody(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"127.0.0.1:{hub.port} has no model {NAME}" in refusal()
    hub.add(NAME, checkpoint_files(), gated=True)
    assert f"agree on {hub.address}/{NAME}" in refusal()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert f"agree on {hub.address}/{NAME}" in refusal()
    monkeypatch.delenv("HF_TOKEN")
    hub.add(NAME, checkpoint_files(), private=True)
    assert "HF_TOKEN" in refusal()
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    assert "doesn't know this token" in refusal()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "has no version v9" in refusal(revision="v9")
    hub.requests.clear()
    fetch()
    key = f"Bearer {TOKEN}"
    assert all(each.headers["Authorization"] == key for each in hub.asked("/resolve/"))
    # Git LFS's host is another one, which gets no token
    assert hub.asked("/lfs/")
    assert not any("Authorization" in each.headers for each in hub.asked("/lfs/"))


def test_a_version_by_its_commit(hub: LocalHub) -> None:
    repo = hub.add(NAME, checkpoint_files())
    pulled = fetch(revision=repo.commit)
    assert pulled.folder.name == repo.commit
    assert not (pulled.folder.parent.parent / "refs").exists()


# ---- what was published ----


def test_published_weights_have_their_hash_wherever_they_are(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    files = checkpoint_files()
    name = "openbmb/OmniLMM-12B"
    hub.add(name, files)
    assert "openbmb/OmniLMM-12B was published with a8b8bc95" in refusal(name)
    monkeypatch.setattr(choice, "PUBLISHED", {(name, BIN): sha256(files[BIN])})
    fetch(name)


def test_other_weights_are_taken_by_their_commit(hub: LocalHub) -> None:
    repo = hub.add("openbmb/OmniLMM-12B", checkpoint_files())
    assert fetch("openbmb/OmniLMM-12B", repo.commit).folder.name == repo.commit


# ---- room, and others ----


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, checkpoint_files())
    monkeypatch.setattr("omnilmm_lite.hub.pull.free_bytes", lambda path: 200_000)
    assert "there is room for 0.2 MB" in refusal()
    assert not hub.asked("/lfs/")


def test_nothing_is_fetched_without_consent(hub: LocalHub, tmp_path: Path) -> None:
    hub.add(NAME, checkpoint_files())
    with pytest.raises(NotWantedError):
        fetch(heard=Heard(agrees=False))
    assert not hub.asked("/lfs/")
    assert not (tmp_path / "hf-home").exists()


def test_a_second_run_gets_one_line(hub: LocalHub, tmp_path: Path) -> None:
    hub.add(NAME, checkpoint_files())
    fetch(to=tmp_path / "mine")
    with sole_owner(tmp_path / "mine"), pytest.raises(InputError, match="another run is writing there"):
        fetch(to=tmp_path / "mine")


def test_a_folder_of_the_user_s_own(hub: LocalHub, tmp_path: Path) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    place = tmp_path / "with blank"
    assert fetch(to=place).folder == place
    assert {path.name for path in place.iterdir()} == NEEDED
    assert not (tmp_path / "hf-home" / "hub").exists()
    (place / BIN).write_bytes(noise(len(files[BIN]), 7))  # of the same size
    with pytest.raises(InputError, match=f"{BIN} is another file"):
        fetch(to=place)


def test_the_environment_says_where_and_as_whom(hub: LocalHub, tmp_path: Path) -> None:
    """A process of its own: the library reads its variables when it is imported."""
    files = checkpoint_files()
    hub.add(NAME, files, private=True)
    named = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "elsewhere")}
    command = [sys.executable, "-m", "cli", "pull", NAME]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | named, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "elsewhere" / "hub")
    assert hashlib.sha256((folder / BIN).read_bytes()).hexdigest() == sha256(files[BIN])
    assert f"connecting to 127.0.0.1:{hub.port}" in done.stderr


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_listing_that_can_not_be_had_at_once(hub: LocalHub, status: int) -> None:
    hub.add(NAME, checkpoint_files())
    hub.fail("/api/models/", Fault.STATUS, status=status, times=2)
    heard = Heard()
    fetch(heard=heard)
    assert [f"({status})" in note for note in heard.notes] == [False, True, True, False]
    hub.fail("/api/models/", Fault.STATUS, status=status, times=99)
    heard = Heard()
    fetch(heard=heard)
    assert "the version that is in the cache is taken" in heard.notes[-1]


def test_files_kept_in_xet_come_by_http(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert (fetch().folder / BIN).read_bytes() == files[BIN]
    assert not hub.asked("xet-read-token")
    metadata = get_hf_file_metadata(f"{hub.address}/{NAME}/resolve/main/{BIN}")
    assert metadata.xet_file_data is not None  # as the library understands the hub


def test_a_connection_that_is_cut_again_and_again(hub: LocalHub) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    hub.fail("/lfs/", Fault.CUT, times=12, amount=20_000)  # more often than it is tried without a byte
    heard = Heard()
    assert (fetch(heard=heard).folder / BIN).read_bytes() == files[BIN]
    assert len(hub.asked("/lfs/")) == 13
    assert "the connection was cut; next try in 1 s" in heard.notes[-1]

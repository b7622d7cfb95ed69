"""ModelScope's interface, a mirror's folder, and folders of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.home.model_record import ModelKind
from omnilmm_lite.hub import choice
from omnilmm_lite.hub.http import HttpClient
from omnilmm_lite.hub.modelscope import ModelScopeRepository
from omnilmm_lite.hub.pull import Pulled, pull
from omnilmm_lite.hub.source import Source
from tests.hub.conftest import Heard, checkpoint_files, noise
from tests.hub.local_hub import Fault, LocalHub, git_id, sha256
from tests.hub.test_hugging_face import BIN, NEEDED
from tests.paths import ROOT

NAME = "somebody/a-model"
TINY = ROOT / "omnilmm_lite" / "builtin" / "tiny"


def fetch(name: str, to: Path | None = None, heard: Heard | None = None, revision: str | None = None) -> Pulled:
    return pull(Source.parse(name, revision=revision), heard or Heard(), to)


def holds(folder: Path, files: dict[str, bytes]) -> bool:
    return {path.name for path in folder.iterdir()} == NEEDED and all(
        (folder / name).read_bytes() == files[name] for name in NEEDED
    )


# ---- ModelScope ----


def test_modelscope_fills_the_user_s_place(hub: LocalHub, tmp_path: Path) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    heard = Heard()
    pulled = fetch(f"ms:{NAME}", heard=heard)
    assert pulled == Pulled(
        tmp_path / "home" / "checkpoints" / "somebody" / "a-model",
        ModelKind.CHECKPOINT,
        f"127.0.0.1:{hub.port}/{NAME}@master",
    )
    assert holds(pulled.folder, files)
    assert heard.notes == [f"connecting to {hub.address}"]
    again = Heard()
    assert fetch(f"modelscope:{NAME}", heard=again) == pulled
    assert again.plans[0].missing == 0
    assert "@v1" in fetch(f"ms:{NAME}", revision="v1").origin


def test_modelscope_goes_on(hub: LocalHub, tmp_path: Path) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    hub.fail(BIN, Fault.CUT, amount=100_000)
    hub.fail(BIN, Fault.STATUS, times=99, status=403)
    with pytest.raises(OmniLMMError, match="forbids it"):
        fetch(f"ms:{NAME}")
    folder = tmp_path / "home" / "checkpoints" / "somebody" / "a-model"
    assert [path.stat().st_size for path in folder.glob(".*.partial")] == [100_000]
    hub.switches.clear()
    hub.requests.clear()
    hub.fail(BIN, Fault.QUIET_RANGE)
    assert holds(fetch(f"ms:{NAME}").folder, files)
    assert hub.asked(BIN)[0].headers["Range"] == "bytes=100000-"


def test_modelscope_refuses(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=f"127.0.0.1:{hub.port} has no model {NAME}"):
        fetch(f"ms:{NAME}")
    files = checkpoint_files()
    hub.add(NAME, files)
    with pytest.raises(InputError, match="in version v7"):
        fetch(f"ms:{NAME}", revision="v7")
    hub.announced[BIN] = {"Sha256": "0" * 64}
    with pytest.raises(OmniLMMError, match=f"{BIN} came with the hash .* twice"):
        fetch(f"ms:{NAME}")
    hub.announced[BIN] = {"Size": "large"}
    with pytest.raises(OmniLMMError, match=f"{BIN}: a size of"):
        fetch(f"ms:{NAME}")
    monkeypatch.setenv("MODELSCOPE_DOMAIN", f"{hub.address}/nothing")
    with pytest.raises(OmniLMMError):
        fetch(f"ms:{NAME}")


def test_modelscope_s_token_goes_to_modelscope(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, checkpoint_files())
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-key")
    fetch(f"ms:{NAME}")
    assert all(each.headers["Authorization"] == "Bearer ms-key" for each in hub.requests)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-key\n")  # as a file has it
    fetch(f"ms:{NAME}")
    assert all(each.headers["Cookie"] == "m_session_id=ms-key" for each in hub.requests)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms\nkey")
    with pytest.raises(InputError, match=r"^MODELSCOPE_API_TOKEN: it holds characters that no key has; set it anew$"):
        fetch(f"ms:{NAME}")


WORDS = st.sampled_from(["Code", "Data", "Files", "Path", "Size", "Sha256", "Type", "Revision", "config.json"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=3)
ANY = st.recursive(PLAIN, lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(WORDS, deeper, max_size=3))
ENTRY = st.dictionaries(WORDS, ANY).map(lambda entry: {"Path": "config.json"} | entry)
LISTING = st.lists(ENTRY | ANY, max_size=3).map(lambda files: {"Code": 200, "Data": {"Files": files}})


@given(LISTING | ANY)
def test_any_answer_is_a_listing_or_refused(answer: object) -> None:
    class Client(HttpClient):
        def read(self, url: str, headers: Mapping[str, str] | None, limit: int) -> bytes:
            return json.dumps(answer).encode()

    client = Client.__new__(Client)  # which needs no connection
    try:
        repository = ModelScopeRepository(client, Source.parse(f"ms:{NAME}"))
        found = repository.find("config.json")
    except OmniLMMError:
        return
    assert found is None or found.size >= 0


# ---- a mirror ----


def test_a_mirror_s_files_are_asked_for_by_name(hub: LocalHub, tmp_path: Path) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    heard = Heard()
    pulled = fetch(f"{hub.address}/mirror/{NAME}/", heard=heard)
    assert pulled.folder == tmp_path / "home" / "checkpoints" / "a-model"
    assert pulled.origin == f"{hub.address}/mirror/{NAME}"
    assert holds(pulled.folder, files)
    assert f"{BIN}: its SHA-256 is {sha256(files[BIN])}: nobody there says" in heard.notes[-1]
    assert not hub.asked("README") and not hub.asked("training.log")


def test_a_mirror_s_sums_are_kept_to(hub: LocalHub, tmp_path: Path) -> None:
    files = checkpoint_files()
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items())
    hub.add(NAME, files | {"SHA256SUMS": sums.encode()})
    heard = Heard()
    fetch(f"{hub.address}/mirror/{NAME}", heard=heard)
    assert len(heard.notes) == 1
    hub.add(NAME, files | {"SHA256SUMS": sums.encode(), BIN: noise(len(files[BIN]), 5)})
    with pytest.raises(OmniLMMError, match=f"{BIN} came with the hash .* twice"):
        fetch(f"{hub.address}/mirror/{NAME}", tmp_path / "other")


def test_published_weights_are_known_on_a_mirror(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    files = checkpoint_files()
    hub.add(NAME, files)
    monkeypatch.setattr(choice, "PUBLISHED", {("its/publisher", BIN): sha256(files[BIN])})
    heard = Heard()
    fetch(f"{hub.address}/mirror/{NAME}", heard=heard)
    assert heard.notes[-1].endswith("that of its/publisher as published")


def test_a_changed_file_is_not_gone_on_with(hub: LocalHub, tmp_path: Path) -> None:
    """Nobody says a hash: what was begun of another version has another name."""
    files = checkpoint_files()
    hub.add(NAME, files)
    hub.fail(BIN, Fault.CUT, amount=100_000)
    hub.fail(BIN, Fault.STATUS, times=1, status=403)
    address, place = f"{hub.address}/mirror/{NAME}", tmp_path / "here"
    with pytest.raises(OmniLMMError, match="forbids it"):
        fetch(address, place)
    other = noise(len(files[BIN]), 6)
    hub.add(NAME, files | {BIN: other})
    fetch(address, place)
    assert (place / BIN).read_bytes() == other
    assert not list(place.glob(".*.partial"))


def test_a_mirror_that_has_something_else(hub: LocalHub) -> None:
    hub.add(NAME, {"index.html": b"<html>"})
    with pytest.raises(InputError, match=r"has no config.json"):
        fetch(f"{hub.address}/mirror/{NAME}")
    files = checkpoint_files()
    hub.add(NAME, files)
    hub.fail("config.json", Fault.STATUS, status=403, method="HEAD")
    with pytest.raises(OmniLMMError, match="forbids it"):
        fetch(f"{hub.address}/mirror/{NAME}")


# ---- folders ----


def test_a_folder_is_used_where_it_lies_or_copied(hub: LocalHub, tmp_path: Path) -> None:
    files = checkpoint_files()
    there = tmp_path / "a disk" / "model"
    there.mkdir(parents=True)
    for name, data in files.items():
        (there / name).write_bytes(data)
    assert fetch(str(there)) == Pulled(there, ModelKind.CHECKPOINT, str(there))
    copy = fetch(str(there), tmp_path / "copy").folder
    assert holds(copy, files)
    assert not hub.requests
    with pytest.raises(InputError, match="where it lies"):
        fetch(str(there), there)
    (there / BIN).unlink()
    with pytest.raises(InputError, match="has no weights"):
        fetch(str(there))


# ---- bundles ----


def bundle_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in TINY.iterdir()}


def test_a_bundle_comes_into_the_store_and_is_verified(hub: LocalHub, tmp_path: Path) -> None:
    files = bundle_files()
    hub.add("somebody/my-bundle", files | {"README.md": b"# mine"})
    pulled = fetch("ms:somebody/my-bundle")
    assert (pulled.folder, pulled.kind) == (tmp_path / "home" / "models" / "my-bundle", ModelKind.BUNDLE)
    assert {path.name: path.read_bytes() for path in pulled.folder.iterdir()} == files


def test_a_bundle_of_hugging_face_s_is_whole_in_its_cache(hub: LocalHub) -> None:
    hub.add("somebody/my-bundle", bundle_files())
    pulled = fetch("somebody/my-bundle")
    assert pulled.kind is ModelKind.BUNDLE
    assert (pulled.folder / "vision.onnx.data").resolve().parent.name == "blobs"


def test_a_bundle_that_is_not_what_its_manifest_says(hub: LocalHub, tmp_path: Path) -> None:
    files = bundle_files()
    changed = bytes([files["decoder.onnx.data"][0] ^ 1]) + files["decoder.onnx.data"][1:]
    hub.add("somebody/my-bundle", files | {"decoder.onnx.data": changed})
    with pytest.raises(InputError, match=r"decoder.onnx.data isn't what its manifest says"):
        fetch("ms:somebody/my-bundle")
    address = f"{hub.address}/mirror/somebody/my-bundle"  # which says no hashes: the manifest does
    with pytest.raises(OmniLMMError, match=r"decoder.onnx.data came with the hash .* twice"):
        fetch(address)
    del files["embeddings.npy"]
    hub.add("somebody/my-bundle", files)
    with pytest.raises(InputError, match=r"has no embeddings.npy"):
        fetch(address)


@pytest.mark.parametrize(
    "path", ["../outside", "/tmp/outside", "C:outside", "a\\b", "con", "a//b", "a/./b", "x.", "a\0b"]
)
def test_a_manifest_s_paths_stay_in_the_folder(hub: LocalHub, path: str) -> None:
    files = bundle_files()
    manifest = json.loads(files["manifest.json"])
    manifest["files"].append({"path": path, "size": 1, "sha256": sha256(b"x")})
    hub.add("somebody/my-bundle", files | {"manifest.json": json.dumps(manifest).encode(), path: b"x"})
    with pytest.raises(InputError):
        fetch("ms:somebody/my-bundle")
    assert not hub.asked("FilePath=vision")


def test_git_ids_are_git_s() -> None:
    """Of git hash-object for an empty file, and for "hello" and a newline."""
    assert git_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"

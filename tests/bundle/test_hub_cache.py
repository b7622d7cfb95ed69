"""A bundle in Hugging Face's cache is a folder of links: those into its own store are followed, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import load
from tests.bundle.manifests import edit_manifest, entry_of, read_manifest, write_manifest
from tests.systems import make_pipe


@pytest.fixture
def snapshot(tiny_bundle: Path, tmp_path: Path) -> Path:
    """As huggingface_hub lays out a download: docs "Understand caching", "Files and refs"."""
    return download(tiny_bundle, tmp_path / "models--me--mine", "snapshots/0f1e2d")


def download(bundle: Path, model: Path, folder: str) -> Path:
    blobs, snapshot = model / "blobs", model / folder
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(bundle.iterdir())):
        blob = blobs / f"{number:040x}"
        if not blob.exists():
            blob.hardlink_to(path)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        Bundle.open(folder)
    return str(caught.value)


def test_a_snapshot_answers(snapshot: Path) -> None:
    assert (snapshot / "decoder.onnx").readlink() == Path("../../blobs") / f"{0:040x}"
    Bundle.open(snapshot).verify()
    assert load(snapshot, threads=1).logits([1, 5]).shape == (2, 32009)


def test_a_snapshot_in_a_subfolder_or_by_a_link_opens(tiny_bundle: Path, tmp_path: Path) -> None:
    inner = download(tiny_bundle, tmp_path / "models--me--mine", "snapshots/0f1e2d/cpu")
    assert str((inner / "decoder.onnx").readlink()).startswith("../../../blobs/")
    Bundle.open(inner)
    (tmp_path / "mine").symlink_to(inner)
    Bundle.open(tmp_path / "mine")


def test_other_ways_out_of_a_snapshot_are_refused(snapshot: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", snapshot / "tokenizer.json"
    secret.write_bytes(link.read_bytes())
    other = download(tiny_bundle, tmp_path / "models--me--other", "snapshots/1")
    blobs = snapshot.parent.parent / "blobs"
    (blobs / "out").symlink_to(secret)
    (blobs / "deep").mkdir()
    (blobs / "deep" / "file").write_bytes(secret.read_bytes())
    (snapshot.parent / "sibling").write_bytes(secret.read_bytes())
    targets = [
        "../../../secret",
        str(secret),
        str(os.path.relpath((other / "tokenizer.json").resolve(), snapshot)),  # another model's store
        "../../blobs/out",
        "../../blobs/deep/file",
        "../../blobs",
        "../sibling",
        "../../blobs/../blobs/../../secret",
    ]
    for target in targets:
        link.unlink()
        link.symlink_to(target)
        assert "'tokenizer.json' leaves the bundle's folder" in refusal(snapshot), target


def test_a_store_anywhere_else_is_none(tiny_bundle: Path, tmp_path: Path) -> None:
    for name, folder in (("mine", "snapshots/1"), ("models--me--mine", "versions/1")):
        made = download(tiny_bundle, tmp_path / name, folder)
        assert "leaves the bundle's folder" in refusal(made)


def test_a_pipe_in_the_store_is_refused(snapshot: Path) -> None:
    pipe = snapshot.parent.parent / "blobs" / "pipe"
    make_pipe(pipe)
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to("../../blobs/pipe")
    assert "tokenizer.json: this is a named pipe" in refusal(snapshot)


def test_a_path_through_a_folders_link_is_refused(snapshot: Path) -> None:
    """Only a file itself may be a link into the store."""
    (snapshot / "deep").symlink_to("../../blobs")
    data = read_manifest(snapshot)
    name = f"deep/{0:040x}"
    data["files"].append({**entry_of(data, "decoder.onnx"), "path": name})
    write_manifest(snapshot, data)
    assert f"'{name}' leaves the bundle's folder" in refusal(snapshot)
    edit_manifest(snapshot, lambda data: data["files"].pop())
    Bundle.open(snapshot)

"""A manifest holds the hash of its own bytes: whatever flips in it is found."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import MANIFEST, SEAL, Manifest, sealed
from omnilmm_lite.errors import InputError
from tests.bundle.manifests import read_manifest, write_manifest
from tests.command_line import Run, linked, refused, runner

FLIPS = 400


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return linked(tiny_bundle, tmp_path / "copy")


def test_the_hash_is_of_all_bytes_with_zeros_in_its_place(tiny_bundle: Path) -> None:
    """Worked out here by the rule in docs/architecture.md, with the system's own tools."""
    import hashlib

    text = (tiny_bundle / MANIFEST).read_bytes()
    found = json.loads(text)[SEAL]
    assert text.count(found.encode()) == 1
    assert hashlib.sha256(text.replace(found.encode(), b"0" * 64)).hexdigest() == found
    assert text.endswith(b'"manifest_sha256": "' + found.encode() + b'"\n}\n')


def test_a_flipped_bit_anywhere_is_found(tiny_bundle: Path) -> None:
    text = (tiny_bundle / MANIFEST).read_bytes()
    dice = random.Random(0)
    end = range(len(text) - 90, len(text))  # the hash itself, and its name
    for place in [*dice.sample(range(len(text)), FLIPS), *end]:
        flipped = bytearray(text)
        flipped[place] ^= 1 << dice.randrange(8)
        with pytest.raises(InputError) as caught:
            Manifest.from_json(bytes(flipped), Path(MANIFEST))
        assert "\n" not in str(caught.value)


def test_what_was_changed_by_hand_is_refused_with_what_to_do(copy: Path, run: Run) -> None:
    text = (copy / MANIFEST).read_text(encoding="utf-8")
    (copy / MANIFEST).write_text(text.replace('"time_shared": false', '"time_shared": true '), encoding="utf-8")
    for command in (("inspect", copy), ("inspect", copy, "--verify"), ("run", "--model", copy, "-p", "Hello")):
        line = refused(run(*command))
        assert "the manifest is damaged, or was changed by hand" in line
        assert "copy the bundle again or convert the checkpoint again" in line


def test_a_manifest_without_its_hash_is_refused_but_for_older_ones(copy: Path) -> None:
    data = read_manifest(copy)
    for version, opens in ((3, False), (2, True), (1, True)):
        data["schema_version"] = version
        (copy / MANIFEST).write_text(json.dumps(data), encoding="utf-8")
        if opens:
            assert Bundle.open(copy).manifest.schema_version == version
        else:
            with pytest.raises(InputError, match="the manifest is damaged"):
                Bundle.open(copy)
    for entry in data["files"]:
        del entry["hashes"]
    (copy / MANIFEST).write_text(json.dumps(data), encoding="utf-8")
    assert all(entry.hashes == () for entry in Bundle.open(copy).manifest.files)


def test_a_name_in_any_script_is_sealed(copy: Path) -> None:
    data = read_manifest(copy) | {"name": "日本 é"}
    (copy / MANIFEST).write_text(sealed(data), encoding="utf-8")
    assert Bundle.open(copy).manifest.name == "日本 é"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.append(files[0]), "are listed, and at most"),
        (lambda files: files.extend({**files[0], "path": f"f{i}"} for i in range(100)), "are listed, and at most"),
        (lambda files: files[0].update(hashes=["0" * 64]), "has 1 hashes, too few or too many"),
        (lambda files: files[0].update(size=(64 << 20) + 1), "has 0 hashes, too few or too many"),
    ],
)
def test_lists_of_files_that_no_conversion_writes_are_refused(copy: Path, change: object, message: str) -> None:
    data = read_manifest(copy)
    assert callable(change)
    change(data["files"])
    write_manifest(copy, data)
    with pytest.raises(InputError, match=message):
        Bundle.open(copy)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)

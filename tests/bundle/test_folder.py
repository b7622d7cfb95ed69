"""Bundles that are damaged, incomplete, from elsewhere or made to harm: each is refused in one line."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnilmm_lite.bundle import folder as bundle_module
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import MANIFEST, SCHEMA_VERSION, Manifest
from omnilmm_lite.errors import InputError
from tests.bundle.manifests import Edit, edit_manifest, entry_of, read_manifest, rewrite, write_manifest
from tests.systems import make_pipe

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The shared bundle under another name, with files of its own that a test may break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def refusal(folder: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        Bundle.open(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---- a whole bundle ----


def test_a_converted_bundle_opens_and_verifies(tiny_bundle: Path, tiny_checkpoint: Checkpoint) -> None:
    bundle = Bundle.open(tiny_bundle)
    hashed: list[str] = []
    bundle.verify(lambda entry: hashed.append(entry.path))
    assert sorted(hashed) == sorted(path.name for path in tiny_bundle.iterdir() if path.name != MANIFEST)
    assert bundle.manifest.config == tiny_checkpoint.config


def test_the_manifest_survives_json(tiny_bundle: Path) -> None:
    manifest = Bundle.open(tiny_bundle).manifest
    assert Manifest.from_json(manifest.to_json(), Path(MANIFEST)) == manifest


# ---- files ----


@pytest.mark.parametrize("name", ["decoder.onnx.data", "vision.onnx", "tokenizer.json", "embeddings.npy"])
def test_a_flipped_byte_is_found_and_its_file_named(copy: Path, name: str) -> None:
    path = copy / name
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(InputError, match=f"{name}: the file is damaged"):
        Bundle.open(copy).verify()


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "resampler.onnx.data").unlink()
    assert "resampler.onnx.data: the file is missing" in refusal(copy)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_named_with_both(change: int, copy: Path) -> None:
    path = copy / "decoder.onnx.data"
    size = path.stat().st_size
    os.truncate(path, size + change)
    assert f"decoder.onnx.data: the file has {size + change:,} bytes where the manifest says {size:,}" in refusal(copy)


NAMES = pytest.mark.parametrize(
    "name", ["vision.onnx", "tokenizer.json", "embeddings.npy", "decoder.onnx.data", MANIFEST]
)


@NAMES
def test_a_folder_in_a_files_place_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    assert f"{name}: this is a folder, where a file is needed" in refusal(copy)


@NAMES
def test_pipes_and_devices_are_refused_before_they_are_opened(copy: Path, name: str) -> None:
    """Opening a pipe would wait for somebody to write to it."""
    path = copy / name
    path.unlink()
    make_pipe(path)
    assert f"{name}: this is a named pipe, where a file is needed" in refusal(copy)
    path.rename(copy / "pipe")
    path.symlink_to("pipe")
    assert f"{name}: this is a named pipe, where a file is needed" in refusal(copy)
    path.unlink()
    path.symlink_to(os.devnull)
    refusal(copy)  # it leaves the folder, besides


def test_a_file_that_can_not_be_read_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(bundle_module, "sha256", refuse)
    assert "decoder.onnx: Permission denied; check its rights, or copy the bundle again" in refusal(copy)


# ---- folders ----


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no such bundle folder" in refusal(tmp_path / "nothing")
    assert "no such bundle folder" in refusal("~no-such-user-here/bundle")
    assert "no such bundle folder" in refusal("x" * 5000)
    assert "no such bundle folder" in refusal("nothing\0here")


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "no such bundle folder" in refusal(tmp_path / "file")


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    assert f"has no {MANIFEST}" in refusal(tmp_path)


def test_a_checkpoint_is_told_from_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "looks like a checkpoint: `omnilmm-lite convert`" in refusal(tmp_path)


def test_tiny_is_the_built_in_bundle_unless_there_is_such_a_folder(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "tiny").symlink_to(tiny_bundle)
    monkeypatch.setattr(bundle_module, "BUILTIN", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    assert Bundle.find(None).folder == Bundle.find("tiny").folder == tmp_path / "package" / "tiny"
    (tmp_path / "tiny").mkdir()
    with pytest.raises(InputError, match=f"tiny: this folder has no {MANIFEST}"):
        Bundle.find("tiny")


# ---- paths that leave the folder ----


@pytest.mark.parametrize(
    "path",
    [
        *("../secret", "a/../../secret", "/etc/passwd", "..", "a/.."),
        *("..\\secret", "C:\\secret", "C:/secret", "C:secret", "decoder.onnx:secret", "\\\\host\\x"),  # on Windows
    ],
)
def test_paths_that_leave_the_folder_are_refused(copy: Path, path: str) -> None:
    edit_manifest(copy, lambda data: data["files"].append({"path": path, "size": 1, "sha256": "0"}))
    assert "leaves the bundle's folder" in refusal(copy)


def test_a_link_that_leaves_the_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (copy / "link").symlink_to(tmp_path / "secret")
    edit_manifest(copy, lambda data: data["files"].append({"path": "link", "size": 1, "sha256": "0"}))
    assert "leaves the bundle's folder" in refusal(copy)


def test_a_link_that_stays_inside_is_fine(copy: Path) -> None:
    (copy / "tokenizer.json").rename(copy / "elsewhere.json")
    (copy / "tokenizer.json").symlink_to("elsewhere.json")
    Bundle.open(copy).verify()


@pytest.mark.parametrize("path", ["", ".", "x" * 5000, "a\0b", "\ud800", "self/self"])
def test_paths_that_are_no_paths_are_refused(copy: Path, path: str) -> None:
    (copy / "self").symlink_to("self")
    edit_manifest(copy, lambda data: data["files"].append({"path": path, "size": 1, "sha256": "0"}))
    refusal(copy)


# ---- the manifest ----


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"not json", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b"\x00" * 100],
    ids=["empty", "half", "words", "not UTF-8", "deep lists", "deep objects", "a long number", "zeros"],
)
def test_what_is_no_json_is_refused(copy: Path, content: bytes) -> None:
    (copy / MANIFEST).write_bytes(content)
    assert MANIFEST in refusal(copy)


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "{}", '{"name": "x"}'])
def test_json_that_is_no_manifest_is_refused(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    assert "not a bundle's manifest" in refusal(copy)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, "1", None, [1]])
def test_other_schema_versions_are_refused(copy: Path, version: object) -> None:
    edit_manifest(copy, lambda data: data.update(schema_version=version))
    assert f"schema version {version!r}, this omnilmm-lite reads {SCHEMA_VERSION}: update" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(surprise=1), "the field 'surprise' is unknown"),
        (lambda data: data["config"]["decoder"].update(bits=4), "config.decoder: the field 'bits' is unknown"),
        (lambda data: data["files"][1].update(crc=4), r"files[1]: the field 'crc' is unknown"),
        (lambda data: data.pop("graphs"), "graphs: the field is missing"),
        (lambda data: data["config"]["vision"].pop("image_size"), "config.vision.image_size: the field is missing"),
        (lambda data: data["files"][0].update(size="12"), "files[0].size: expected a whole number, found '12'"),
        (lambda data: data["files"][0].update(size=True), "files[0].size: expected a whole number, found True"),
        (lambda data: data["files"][0].update(size=1.5), "files[0].size: expected a whole number, found 1.5"),
        (lambda data: data["files"][0].update(path=7), "files[0].path: expected a string, found 7"),
        (lambda data: data.update(time_shared=1), "time_shared: expected true or false, found 1"),
        (lambda data: data.update(files={"path": "x"}), "files: expected a list"),
        (lambda data: data.update(target="tpu"), "target: expected one of cpu, cuda, found 'tpu'"),
        (lambda data: data.update(config=[]), "config: expected an object, found []"),
        (lambda data: data["sampling"].update(top_p=2), "top_p: 2 is out of range"),
        (lambda data: data["sampling"].update(temperature=None), "sampling.temperature: expected a number, found None"),
        (lambda data: data["config"]["vision"].update(patch_size=0), "config.vision.patch_size: 0 is out of range"),
        (lambda data: data["config"]["tokens"].update(eos=32009), "config.tokens.eos: 32009 is no token of 32009"),
        (lambda data: data["graphs"].update(prefill="other.onnx"), "'other.onnx' is used but not listed"),
        (lambda data: data["graphs"].update(vision="tokenizer.json"), "a graph's file name must end in .onnx"),
    ],
)
def test_fields_that_do_not_fit_are_named(copy: Path, change: Edit, message: str) -> None:
    edit_manifest(copy, change)
    assert message in refusal(copy)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def places(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to every value in a JSON tree."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    here = [path] if path else []  # not the tree itself
    return here + [place for key, item in items for place in places(item, (*path, key))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_any_change_of_one_value_opens_or_is_refused(tiny_bundle: Path, tmp_path: Path, data: st.DataObject) -> None:
    """No other error may come out, whatever stands in the manifest."""
    folder = tmp_path / "linked"
    if not folder.exists():
        folder.mkdir()
        for path in tiny_bundle.iterdir():
            os.link(path, folder / path.name)
    manifest = read_manifest(tiny_bundle)
    *way, last = data.draw(st.sampled_from(places(manifest)))
    target: Any = manifest
    for key in way:
        target = target[key]
    if data.draw(st.booleans()):
        target[last] = data.draw(JSON)
    else:
        del target[last]
    write_manifest(folder, manifest)
    try:
        Bundle.open(folder)
    except InputError as error:
        assert "\n" not in str(error)


# ---- where graphs take their weights ----

# TensorProto.external_data (field 13): {key (1): "location", value (2): ...}, by hand from the protobuf encoding.


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def location(name: bytes) -> bytes:
    return field(13, field(1, b"location") + field(2, name))


@pytest.mark.parametrize(
    "added",
    [
        location(b"../../secret"),
        location(b"unlisted.data"),
        location(b"/etc/passwd"),
        field(13, field(2, b"../../secret") + field(1, b"location")),  # value before key
        field(13, field(1, b"location") + field(2, b"vision.onnx.data") + field(2, b"../x")),  # the last one counts
        field(13, b"\x0a\x88\x00location" + field(2, b"../x")),  # the key's length in two bytes
        field(13, field(1, b"location") + b"\x12\x84\x00../x"),  # the value's length in two bytes
        b"\x6a\x9b\x00" + location(b"vision.onnx.data")[2:],  # the entry's length in two bytes
    ],
)
def test_a_graph_can_not_take_weights_from_a_file_that_is_not_listed(copy: Path, added: bytes) -> None:
    path = copy / "vision.onnx"
    rewrite(copy, "vision.onnx", path.read_bytes() + added)
    assert "vision.onnx: the graph takes weights from a file that the manifest doesn't list" in refusal(copy)


def test_a_graph_has_nothing_that_is_not_read(copy: Path) -> None:
    """Not even a place of weights that are listed: where it stands, ONNX has no such field."""
    path = copy / "vision.onnx"
    rewrite(copy, "vision.onnx", path.read_bytes() + location(b"vision.onnx.data"))
    assert "vision.onnx: this is no ONNX graph that can be read" in refusal(copy)


def test_a_graph_in_another_folder_is_refused_with_the_weights_beside_it(copy: Path) -> None:
    (copy / "sub").mkdir()
    for name in ("vision.onnx", "vision.onnx.data"):
        shutil.copyfile(copy / name, copy / "sub" / name)

    def change(data: dict[str, Any]) -> None:
        entry_of(data, "vision.onnx")["path"] = data["graphs"]["vision"] = "sub/vision.onnx"

    edit_manifest(copy, change)
    assert "sub/vision.onnx: a graph must lie in the bundle's own folder" in refusal(copy)

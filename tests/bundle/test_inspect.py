"""What `inspect` and a conversion's end show of a bundle, whatever is in its manifest and its name."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.integrity import large_files
from omnilmm_lite.bundle.manifest import MANIFEST, Manifest
from omnilmm_lite.commands.bundle_report import print_conversion, print_manifest
from omnilmm_lite.console import ConsoleProgress
from omnilmm_lite.errors import InputError
from tests.bundle.manifests import read_manifest
from tests.command_line import Run, edit, linked, refused, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)


def test_inspect_shows_every_file_and_whether_it_was_verified(run: Run, tiny_bundle: Path) -> None:
    plain, verified = (run("inspect", tiny_bundle, *extra) for extra in ((), ("--verify",)))
    assert (plain.code, plain.err, verified.code, verified.err) == (0, "", 0, "")
    manifest = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        assert entry["path"] in plain.out
        assert f"{entry['size']:,}" in plain.out
        assert entry["sha256"][:16] in plain.out
    assert "not verified" in plain.out
    assert "not verified" not in verified.out


def test_inspect_json_is_the_manifest(run: Run, tiny_bundle: Path) -> None:
    result = run("inspect", tiny_bundle, "--json", "--verify")
    assert result.json == read_manifest(tiny_bundle)
    assert (result.out.count("\n"), result.err) == (1, "")


def test_inspect_verify_names_the_damaged_file(
    run: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file's damage is found without, too."""
    folder = linked(tiny_bundle, tmp_path / "damaged")
    path = folder / "resampler.onnx.data"
    data = bytearray(path.read_bytes())
    path.unlink()
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert "resampler.onnx.data: the file is damaged" in refused(run("inspect", folder))
    monkeypatch.setattr(large_files, "SMALL_BYTES", 1 << 16)
    assert run("inspect", folder).code == 0
    assert "resampler.onnx.data: the file is damaged" in refused(run("inspect", folder, "--verify"))


def test_a_bundles_name_is_not_markup(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = linked(tiny_bundle, tmp_path / "named")
    edit(folder, name="my[/bold] [red]model :cat:")
    assert "my[/bold] [red]model :cat:" in run("inspect", folder).out


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["", "[/x]", "lm_head", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def odd(**fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Any value, or an object that has some of these fields and any value in one or the other."""
    return json_values | st.fixed_dictionaries({}, optional={name: each | json_values for name, each in fields.items()})


figures = st.floats(0, 1) | json_values
odd_parity = odd(
    graphs=st.dictionaries(st.text(max_size=3), odd(difference=figures, tolerance=figures), max_size=3),
    tower_quality=odd(mean_cosine=figures, worst_cosine=figures),
    quality=odd(tokens=figures, mean_kld=figures, top1_agreement=figures),
)
odd_layer = odd(
    name=json_values,
    bits=st.integers(2, 8),
    group_size=st.integers(-1, 128),
    error_to_rounding=figures,
    error_to_output=figures,
)
divisors = odd(stream=figures, branches=odd(a=figures, b=figures), inner=odd(a=figures))
odd_quantization = odd(
    fp16=odd(
        worst=odd(tower=odd(site=json_values, largest=figures, divisor=figures, headroom=figures)),
        tower=divisors,
        decoder=divisors,
    ),
    tower=odd(blocks=st.lists(odd(worst_cosine=figures), max_size=4)),
    settings=json_values,
    projections=st.lists(odd_layer, max_size=4),
)


@given(parity=odd_parity, quantization=odd_quantization, folder=json_values)
def test_whatever_is_in_a_manifests_free_form_parts_is_no_error(
    tiny_bundle: Path, parity: Any, quantization: Any, folder: Any
) -> None:
    data = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    data |= {"parity": parity, "quantization": quantization, "source": {"folder": folder}}
    try:
        manifest = Manifest.from_json(json.dumps(data), Path(MANIFEST))
    except InputError:
        return  # the schema knows that these are objects
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")):  # as `main`
        print_manifest(manifest, verified=False)


def test_what_is_understood_of_a_manifest_is_shown_and_nothing_else(
    run: Run, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = linked(tiny_bundle, tmp_path / "odd")
    layer = {"bits": 4, "group_size": 128, "error_to_rounding": 0.5, "error_to_output": 0.01}
    edit(
        folder,
        source={},
        parity={
            "graphs": {"vision.onnx": {}, "decoder.onnx": {"difference": 1e-6, "tolerance": 0.1}},
            "tower_quality": {"mean_cosine": 0.9},
            "quality": ["tokens"],
        },
        quantization={
            "tower": {"blocks": [{}, {"worst_cosine": 0.95}, {"worst_cosine": "0.1"}]},
            "settings": {"bits": 4, "nested": {"no": 1}},
            "projections": [{"name": "a"} | layer, {"name": "b"}, layer, {"name": "c"} | layer | {"bits": "4"}],
            "fp16": {
                "worst": {
                    "tower": {"site": "blocks.1.mlp.fc2", "largest": 70_000.4, "divisor": 16.0, "headroom": 14.97},
                    "resampler": {"site": "proj", "largest": 12, "divisor": 1, "headroom": 5458.7},
                    "decoder": {"site": "lm_head", "largest": "12", "divisor": 1.0, "headroom": 5},
                },
                "tower": {"stream": 1.0, "branches": {"a": 4.0, "b": 16.0, "c": [2]}},
                "decoder": {"stream": 64.0, "inner": {}},
            },
        },
    )
    result = run("inspect", folder)
    assert (result.code, result.err) == (0, "")
    assert "from an unknown folder" in result.out
    assert result.out.partition("decoder.onnx: within")[2].splitlines()[:9] == [
        " 1.0e-06 of the reference (allowed: 0.1)",
        "tower in int8: worst token's cosine in calibration 0.9500, in block 2 of 3",
        "tower's blocks with a token below 0.99: 2",
        "tower in fp16: at most 70,000, divided by 16 in calibration; 15 times that fits (blocks.1.mlp.fc2)",
        "resampler in fp16: at most 12 in calibration; 5,459 times that fits (proj)",
        "tower divided by powers of two, which changes no result: 2 of its layers by up to 16",
        "decoder divided by powers of two, which changes no result: its residual stream by 64",
        "quantization: bits 4",
        "1 linear layers at 4 bits in groups of 128",
    ]
    assert "vision.onnx: within" not in result.out


# ---- names that look like markup ----

ODD_NAME = "/data/[new]/out[/x] :cat:"


def test_progress_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def show() -> str:
        with ConsoleProgress() as progress:
            progress.note(f"note {ODD_NAME}")
            progress.stage(f"stage {ODD_NAME}", 2)
            progress.step(f"step {ODD_NAME}")
        return capsys.readouterr().err

    assert show().splitlines() == [f"note {ODD_NAME}", f"stage {ODD_NAME} (2 steps)"]
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "300"}.items():
        monkeypatch.setenv(name, value)
    bar = show()  # as on a terminal
    assert all(f"{line} {ODD_NAME}" in bar for line in ("note", "stage", "step"))


def test_a_conversion_is_shown_with_its_paths_as_they_are(
    capsys: pytest.CaptureFixture[str], tiny_bundle: Path
) -> None:
    print_conversion(Bundle.open(tiny_bundle).manifest, Path(ODD_NAME))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{ODD_NAME}: ")
    assert ODD_NAME in shlex.split(lines[-1].removeprefix("try it: "))


def test_what_it_says_to_try_is_what_a_shell_reads(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_conversion(Bundle.open(tiny_bundle).manifest, Path("/x/a b [red] (1) it's"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("try it: ")]
    words = shlex.split(line.removeprefix("try it: "))
    assert words == ["omnilmm-lite", "run", "PICTURE", "--model", "/x/a b [red] (1) it's", "-p", "What is this?"]

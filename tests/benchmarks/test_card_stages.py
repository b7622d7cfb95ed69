"""What `make check-card` measures with: products against torch, bundles that answer, records by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from benchmarks.card import product as product_module
from benchmarks.card import synthetic, synthetic_weights
from benchmarks.card.copy_bandwidth import copy_bandwidth
from benchmarks.card.product import FPA, HALF, OURS, Format, Product, products, relative_error, write_graph
from benchmarks.card.report.goals import drift
from benchmarks.card.run import Json, Run
from benchmarks.card.stages import fit, turns
from benchmarks.card.stages import products as products_stage
from benchmarks.card.stages.profile import NodeTime, count_providers, operator_times, parse_profile
from benchmarks.card.synthetic import FPA_INTB, Bundles, Piece
from export.weights.weight import QuantizedWeight
from omnilmm_lite.bench.card.ballast import Room
from omnilmm_lite.bench.card.fit import Fit, Prediction
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.card import Card, Cards
from omnilmm_lite.model import load
from tests.small_checkpoint import SMALL

CUDA, CPU = Device.CUDA.provider, Device.CPU.provider


@pytest.fixture(autouse=True, scope="module")
def small_pool() -> Iterator[None]:
    """Filling the pool takes seconds, and nothing here needs as many numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_weights, "POOL", (1 << 20) - 5)
        synthetic_weights.code_pool.cache_clear()
        yield
    synthetic_weights.code_pool.cache_clear()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    found = Run(tmp_path / "work", tmp_path / "bundles", Device.CPU, small=True)
    found.save()
    return found


# ---- products ----


def test_the_products_are_the_real_model_s() -> None:
    """Mistral-7B's and the tower's, as docs/gpu-kernels.md names them; codes and scales by hand."""
    shapes = {(each.name, each.format.label): (each.k, each.n) for each in products(small=False)}
    ours = "4 bits, 128, zero points"
    assert shapes["qkv", ours] == (4096, 6144)
    assert shapes["o", ours] == (4096, 4096)
    assert shapes["gate_up", ours] == (4096, 28672)
    assert shapes["down", ours] == (14336, 4096)
    assert shapes["lm_head", "8 bits, 128, zero points"] == (4096, 32016)
    assert shapes["lm_head", "8 bits, 32, symmetric, fpA_intB"] == (4096, 32032)
    assert shapes["tower fc2", "fp16"] == (15360, 1792)
    by_name = {(each.name, each.format): each for each in products(small=False)}
    assert by_name["o", OURS].bytes == 4096 * 4096 // 2 + 4096 * 32 * 2 + 4096 * 32 // 2
    assert by_name["o", FPA].bytes == 4096 * 4096 // 2 + 4096 * 128 * 2
    assert by_name["tower proj", HALF].bytes == 2 * 1792 * 1792
    assert {each.rows for each in products(small=False)} == {(1, 4, 16, 316), (1,), (1025,)}


@pytest.mark.parametrize("form", [replace(OURS, group_size=32), replace(OURS, bits=8, group_size=32), FPA, HALF])
def test_a_product_is_timed_and_held_against_float64(run: Run, monkeypatch: pytest.MonkeyPatch, form: Format) -> None:
    product = Product("o", 128, 64, form, (1, 3), 32)
    monkeypatch.setattr(products_stage, "products", lambda *, small: [product])
    monkeypatch.setattr(products_stage, "copy_bandwidth", lambda run: 1e9)
    saved: list[Json] = []
    products_stage.measure(run, saved.append)
    rows = saved[-1]["rows"]
    assert [row["rows"] for row in rows] == [1, 3]
    assert all(row["error"] is None and row["us"] > 0 and row["relative_error"] < 1e-3 for row in rows)
    assert saved[-1]["bytes_per_s"] == 1e9


def test_a_copy_is_measured_in_a_process_of_its_own(run: Run) -> None:
    assert copy_bandwidth(run) > 0
    (run.work / "run.json").unlink()
    with pytest.raises(OmniLMMError, match=r"^a copy on the device failed: .*run\.json can't be read"):
        copy_bandwidth(run)


def test_the_error_is_the_result_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is 1 % too large has an error of 1 %; torch's product of the dense weight has next to none."""
    weight = write_graph(Product("o", 128, 64, replace(OURS, group_size=32), (1,), 1), tmp_path / "g.onnx", 2)
    assert isinstance(weight, QuantizedWeight)
    x = np.random.default_rng(0).standard_normal((3, 128)).astype(np.float16)
    dense = (weight.codes.reshape(64, 4, 32) - weight.zeros[..., None].astype(np.float64)) * weight.scales[..., None]
    exact = torch.from_numpy(x.astype(np.float64)) @ torch.from_numpy(dense.reshape(64, 128)).T
    assert relative_error(x, exact.numpy(), weight) < 1e-12
    assert relative_error(x, 1.01 * exact.numpy(), weight) == pytest.approx(0.01)
    monkeypatch.setattr(product_module, "ERROR_COLUMNS", 8)  # of 64
    assert relative_error(x, exact.numpy(), weight) < 1e-12


def test_each_copy_has_a_weight_of_its_own(tmp_path: Path) -> None:
    write_graph(Product("o", 128, 64, replace(OURS, group_size=32), (1,), 1), tmp_path / "g.onnx", 3)
    model = onnx.load(tmp_path / "g.onnx")
    codes = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.name.endswith("qweight")]
    assert len(codes) == 3
    assert not np.array_equal(codes[0], codes[1])
    assert [node.op_type for node in model.graph.node] == ["MatMulNBits"] * 3


def test_a_product_that_fails_leaves_the_others_their_turn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Product("o", 128, 64, replace(OURS, group_size=32), (1,), 32)
    monkeypatch.setattr(products_stage, "products", lambda *, small: [replace(good, rows=(0, 1)), good])

    def refuse(self: object, x: object) -> object:
        raise OmniLMMError("no kernel")

    monkeypatch.setattr(products_stage, "copy_bandwidth", lambda run: 1e9)
    saved: list[Json] = []
    with monkeypatch.context() as patch:
        patch.setattr(products_stage._Graph, "times", refuse)
        products_stage.measure(run, saved.append)
    assert [row["error"] for row in saved[-1]["rows"]] == ["no kernel", "no kernel"]


# ---- bundles ----


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Every piece at small size, in this process."""
    folder = tmp_path_factory.mktemp("bundles")
    synthetic.write_tokenizer(folder / "tokenizer.json")
    found = Bundles(folder / "small", SMALL)
    threads = torch.get_num_threads()
    for piece in Piece:
        assert "GB in" in synthetic.make_piece(found, piece, folder / "tokenizer.json", threads)
    synthetic.put_all_together([found])
    return found


def test_every_preset_s_bundle_answers(bundles: Bundles) -> None:
    for name, preset in synthetic.VARIANTS.items():
        manifest = Bundle.open(bundles.bundle(name)).manifest
        assert (manifest.preset, manifest.time_shared) == (preset.name, preset.time_shared)
        model = load(bundles.bundle(name), device="cpu", context=64)
        logits = model.logits([1, 5, 9], None)
        assert logits.shape == (3, SMALL.decoder.vocab_size)
        assert np.isfinite(logits).all()
        assert logits.std() > 0.1


def test_presets_share_what_they_have_in_common(bundles: Bundles) -> None:
    def inode(name: str, file: str) -> int:
        return (bundles.bundle(name) / file).stat().st_ino

    assert inode("12gb", "decoder.onnx.data") == inode("8gb", "decoder.onnx.data") == inode("16gb", "decoder.onnx.data")
    assert inode("24gb", "vision.onnx.data") == inode("16gb", "vision.onnx.data") != inode("12gb", "vision.onnx.data")
    assert inode("24gb", "embeddings.npy") == inode(FPA_INTB, "embeddings.npy")


def test_fpa_intb_s_bundle_has_its_packing(bundles: Bundles) -> None:
    """onnxruntime, contrib_ops/cuda/matmul_nbits.md: groups of 32, no zero points (an input behind the scales)."""
    assert Bundle.open(bundles.bundle(FPA_INTB)).manifest.packing is Packing.FPA_INTB
    for name, group, inputs in ((FPA_INTB, 32, 3), ("16gb", 128, 4)):
        graph = onnx.load(bundles.bundle(name) / "decoder.onnx", load_external_data=False).graph
        nodes = [node for node in graph.node if node.op_type == "MatMulNBits"]
        assert len(nodes) == 4 * SMALL.decoder.num_hidden_layers + 1
        sizes = {each.i for node in nodes for each in node.attribute if each.name == "block_size"}
        assert (sizes, {len(node.input) for node in nodes}) == ({group}, {inputs})


def test_what_is_to_be_written_is_known_before(bundles: Bundles, tmp_path: Path) -> None:
    assert bundles.missing_bytes == 0
    planned = Bundles(tmp_path, SMALL).missing_bytes
    files = [path for path in (bundles.folder / "pieces").rglob("*") if path.is_file()]
    assert planned == pytest.approx(sum(path.stat().st_size for path in files), rel=0.1)
    assert 24e9 < Bundles(tmp_path, OmniLMMConfig()).missing_bytes < 30e9  # what --bundles' help says


@pytest.mark.parametrize(
    ("mib", "names"),
    [
        (143771, ("24gb", FPA_INTB)),
        (24564, ("24gb", FPA_INTB)),
        (16380, ("16gb",)),
        (12288, ("12gb",)),
        (8188, ("8gb",)),
    ],
)
def test_a_card_is_measured_with_what_it_holds(
    run: Run, monkeypatch: pytest.MonkeyPatch, mib: int, names: tuple[str, ...]
) -> None:
    cards = Cards((Card(0, "NVIDIA", mib << 20, mib << 20, (8, 9)),))
    monkeypatch.setattr(synthetic, "read_cards", lambda: cards)
    assert synthetic.measured_bundles(replace(run, device=Device.CUDA)) == names
    assert synthetic.measured_bundles(run) == ("24gb", FPA_INTB)


def test_memory_is_watched_turn_by_turn(run: Run, bundles: Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "slim_bundles", lambda run: bundles)
    saved: list[Json] = []
    turns.measure(run, saved.append)
    rows = saved[-1]["rows"]
    assert [row["turn"] for row in rows] == [1, 2, 3, 4]
    assert all(row["in_use"] > 0 and row["seconds"] > 0 for row in rows)
    assert drift(saved[-1]) == rows[3]["in_use"] - rows[2]["in_use"]


def test_what_fits_is_said_as_bench_says_it(run: Run, bundles: Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card, `bench --vram` is a program of its own; here it refuses, in one line."""
    with monkeypatch.context() as patch:
        patch.setattr(fit, "full_bundles", lambda run: bundles)
        saved: list[Json] = []
        fit.measure(run, saved.append)
    assert saved[-1]["rows"][0]["peak"] > 0
    refused = fit._on_card(bundles.bundle("24gb"), 24)
    assert [row["planned"] for row in refused] == [None]
    assert refused[0]["error"]


@pytest.mark.parametrize("failure", [None, "loading: the card's memory is full"])
def test_what_bench_found_on_a_card_is_taken_over(monkeypatch: pytest.MonkeyPatch, failure: str | None) -> None:
    """As `bench --vram --json` prints it, which ends with exit code 1 where a bundle doesn't fit."""
    predictions = () if failure else (Prediction("one picture and one question", 1000, 1040),)
    room = Room(usable=24164 << 20, before=0, context=500 << 20, ballast=100 << 30)
    found = Fit(
        bundle="synthetic-24gb",
        preset="24gb",
        device="cuda:0",
        card="NVIDIA H200",
        driver=None,
        context=4096,
        vram=24,
        room=room,
        stages=(),
        peak=1040,
        predictions=predictions,
        turns=None,
        failure=failure,
    )
    asked: list[list[str]] = []

    def bench(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, bool(failure), json.dumps(found.to_dict()), "the last line\n")

    monkeypatch.setattr(subprocess, "run", bench)
    (row,) = fit._on_card(Path("24gb"), 24)
    assert " ".join(asked[0][2:]) == "cli bench --model 24gb --device cuda --vram 24 --turns 3 --json"
    if failure:
        assert (row["error"], row["peak"]) == (failure, 1040)
    else:
        assert row == {"what": "one picture and one question", "planned": 1000, "peak": 1040, "error": None}


# ---- records ----


def test_nodes_elsewhere_than_on_the_card_are_named() -> None:
    """onnxruntime's record has an entry each time that a node ran, and others that are no node's."""
    events: list[Json] = [
        {"cat": "Session", "name": "model_loading", "dur": 9},
        {"cat": "Node", "name": "qkv_kernel_time", "dur": 5, "args": {"op_name": "MatMulNBits", "provider": CUDA}},
        {"cat": "Node", "name": "qkv_kernel_time", "dur": 7, "args": {"op_name": "MatMulNBits", "provider": CUDA}},
        {"cat": "Node", "name": "shape_kernel_time", "dur": 1, "args": {"op_name": "Concat", "provider": CPU}},
        {"cat": "Node", "name": "qkv_fence_before", "dur": 0, "args": {"op_name": "MatMulNBits"}},
    ]
    times = parse_profile(events)
    assert times[0] == NodeTime("qkv", "MatMulNBits", CUDA, 5.0)
    assert count_providers(times, Device.CUDA) == {"nodes": 2, "elsewhere": 1, "names": ["Concat shape"]}
    assert count_providers(times, Device.CPU)["names"] == ["MatMulNBits qkv"]
    assert operator_times(times) == [
        {"operator": "MatMulNBits", "runs": 2, "us": 12.0},
        {"operator": "Concat", "runs": 1, "us": 1.0},
    ]

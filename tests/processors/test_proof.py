"""The proof of the operators: its known answers, what it notices, what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import cli
from export.checkpoint.checkpoint import Checkpoint
from export.graphs.proof_graphs import BUILDERS, build_graphs
from export.weights.pairs import overflowing_pairs
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.support import unsupported_reason
from omnilmm_lite.model import load
from omnilmm_lite.proof import (
    Family,
    Operator,
    OperatorProof,
    Verdict,
    check_operators,
    measure_products,
    operators,
    prove_operators,
    saturates,
    verdict,
)
from omnilmm_lite.proof import int8 as int8_proof
from omnilmm_lite.proof.attention import CACHED_GRAPH
from omnilmm_lite.proof.operators import OPERATORS, proof_graphs, prove
from omnilmm_lite.proof.proof_graph import Array, ProofGraph
from omnilmm_lite.proof.show import describe, describe_speed, describe_sums, slow_because, verdict_rows
from omnilmm_lite.proof.speed import ProductSpeed

PROOF_GRAPHS = list(proof_graphs())
NAMES = [f"{proof_graph.graph}-{proof_graph.operators[0].value}-{i}" for i, proof_graph in enumerate(PROOF_GRAPHS)]


def test_everything_is_right_here() -> None:
    proofs = prove_operators()
    assert [proof.facts for proof in proofs if not proof.holds] == []
    assert {proof.operator for proof in proofs} == set(Operator)
    assert all(proof.difference == 0 for proof in proofs if proof.operator in Family.INT8.operators)
    check_operators()


def test_every_operator_belongs_to_one_family() -> None:
    listed = [operator for family in Family for operator in family.operators]
    assert sorted(operator.value for operator in listed) == sorted(operator.value for operator in Operator)


def test_the_shipped_graphs_are_those_that_the_builder_writes() -> None:
    """`python -m export.graphs.proof_graphs` writes them anew."""
    shipped = {path.stem: path.read_bytes() for path in OPERATORS.glob("*.onnx")}
    assert shipped == build_graphs()
    assert shipped.keys() == BUILDERS.keys()
    assert sum(map(len, shipped.values())) < 32 << 10


# ---- what it notices ----


@pytest.mark.parametrize("proof_graph", PROOF_GRAPHS, ids=NAMES)
def test_a_wrong_answer_is_noticed(proof_graph: ProofGraph) -> None:
    """Every expected output, off by little more than its tolerance in one place."""
    for case in proof_graph.cases:
        for position, expected in enumerate(case.expected):
            moved = np.array(expected.value, np.float64)
            middle = np.unravel_index(moved.size // 2, moved.shape)
            magnitude = float(np.broadcast_to(expected.magnitude, moved.shape)[middle])
            moved[middle] = np.nextafter(moved[middle] + 2.5 * magnitude * expected.tolerance, np.inf)
            wrong = list(case.expected)
            wrong[position] = replace(expected, value=moved)
            changed = replace(proof_graph, cases=(replace(case, expected=tuple(wrong)),))
            found = [(proof.operator, proof.what) for proof in prove(changed) if not proof.holds]
            assert found == [(expected.operator, expected.what)]


@pytest.mark.parametrize("name", ["product.4.codes", "product.3.codes"])
def test_one_wrong_int8_code_is_noticed(name: str) -> None:
    proof_graph = next(int8_proof.proof_graphs())
    codes = proof_graph.weights[name].copy()
    codes[-1, -1] ^= 1
    assert any(not proof.holds for proof in prove(replace(proof_graph, weights={**proof_graph.weights, name: codes})))


def test_pairs_that_saturate_would_be_noticed() -> None:
    """As VPMADDUBSW adds them, in numpy: right with the proof's codes, wrong with unlimited ones."""

    def as_avx2_does(codes: Array) -> bool:
        activations = np.full(len(codes), 255)
        products = activations[:, None] * codes.astype(np.int64)
        products = np.pad(products, ((0, len(codes) % 2), (0, 0)))
        pairs = products[0::2] + products[1::2]
        return bool((np.clip(pairs, -(1 << 15), (1 << 15) - 1) == pairs).all())

    limited = [next(int8_proof.proof_graphs()).weights[f"product.{i}.codes"] for i in range(len(int8_proof.SHAPES))]
    unlimited = int8_proof.unlimited().weights["product.2.codes"]
    assert all(map(as_avx2_does, limited))
    assert not as_avx2_does(unlimited)
    assert [overflowing_pairs(torch.from_numpy(codes.T)) for codes in limited] == [0] * len(limited)
    assert overflowing_pairs(torch.from_numpy(unlimited.T)) > 0


def test_a_graph_that_does_not_run_is_a_finding() -> None:
    proof_graph = next(proof_graph for proof_graph in PROOF_GRAPHS if proof_graph.graph == CACHED_GRAPH)
    proof = prove(replace(proof_graph, weights={}))[0]
    assert not proof.holds
    assert "doesn't run" in proof.facts
    assert verdict([proof]) is Verdict.WRONG


def test_not_a_number_is_wrong() -> None:
    proof = OperatorProof(Operator.GELU, "any", math.nan, 1.0, "", math.nan, 1.0)
    assert not proof.holds
    assert proof.exceeded == math.inf


# ---- its answers, by torch in float64 ----


def _answers(graph: str, case: int, output: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Weights and inputs in float64, and what the proof says must come out."""
    proof_graph = next(proof_graph for proof_graph in PROOF_GRAPHS if proof_graph.graph == graph)
    found = proof_graph.cases[case]
    arrays = {**proof_graph.weights, **found.feeds}
    given = {name: torch.from_numpy(np.asarray(array, np.float64)) for name, array in arrays.items()}
    value = next(expected.value for expected in found.expected if expected.output == output)
    return given, torch.from_numpy(np.asarray(value, np.float64))


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    split: torch.Tensor = x.unflatten(2, (heads, -1)).transpose(1, 2)
    return split


def _tower(given: dict[str, torch.Tensor]) -> torch.Tensor:
    bias = given["tower.bias"].chunk(3)
    q, k, v = (_heads(given[f"tower.{name}"] + part, 2) for name, part in zip("qkv", bias, strict=True))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _resampler(given: dict[str, torch.Tensor]) -> torch.Tensor:
    q, k, v = (_heads(given[f"resampler.{name}"], 2) for name in "qkv")
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _layer_norm(given: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.layer_norm(given["x"], (256,), given["layer_norm.weight"], given["layer_norm.bias"], 1e-5)


def _rms_norm(given: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.rms_norm(given["x"], (256,), given["rms_norm.weight"], 1e-5)


def _gelu(given: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.gelu((given["x"].float() + given["gelu.bias"].float()).double())


def _silu(given: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.silu(given["x"])


def _conv(given: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.conv2d(given["pixels"], given["conv.weight"], given["conv.bias"], stride=14)


@pytest.mark.parametrize(
    ("graph", "case", "output", "reference"),
    [
        ("attention", 1, "tower", _tower),
        ("attention", 2, "resampler", _resampler),
        ("attention", 3, "tower", _tower),
        ("norms", 0, "layer_norm", _layer_norm),
        ("norms", 1, "layer_norm", _layer_norm),
        ("norms", 0, "rms_norm", _rms_norm),
        ("norms", 1, "rms_norm", _rms_norm),
        ("activations", 0, "gelu", _gelu),
        ("activations", 0, "silu", _silu),
        ("patches", 0, "patches", _conv),
    ],
)
def test_answers_are_torchs(
    graph: str, case: int, output: str, reference: Callable[[dict[str, torch.Tensor]], torch.Tensor]
) -> None:
    given, value = _answers(graph, case, output)
    torch.testing.assert_close(value, reference(given), rtol=1e-9, atol=1e-9)


def test_rounding_is_the_quantizers() -> None:
    from export.weights.int8 import AFTER_GELU, SYMMETRIC

    proof_graph = next(proof_graph for proof_graph in PROOF_GRAPHS if proof_graph.graph == int8_proof.ROUNDING_GRAPH)
    for case, grid in zip(proof_graph.cases, (SYMMETRIC, AFTER_GELU), strict=True):
        codes, scale = (expected.value for expected in case.expected)
        x = torch.from_numpy(case.feeds["x"])
        assert np.array_equal(grid.scale(x).numpy()[:, 0], scale)
        assert np.array_equal(grid.encode(x, grid.scale(x)).numpy(), codes)


# ---- what it says ----


def wrong_proof() -> OperatorProof:
    return OperatorProof(Operator.INT8_PRODUCT, "whole numbers, limited pairs", 3.0, 0.0, "0: why", 12.0, 15.0)


def test_conversion_ends_before_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "prove_operators", lambda threads: (wrong_proof(),))
    with pytest.raises(OmniLMMError, match=r"computes wrong numbers: MatMulIntegerToFloat .*found 12, expected 15"):
        check_operators()


def test_what_does_not_run_is_no_wrong_number() -> None:
    proof = replace(wrong_proof(), failure="no kernel")
    assert proof.complaint().endswith("that bundles need: MatMulIntegerToFloat doesn't run: no kernel")
    assert "wrong numbers" not in proof.complaint()


@pytest.mark.parametrize("preset", ["cpu", "24gb", "reference"])
def test_convert_proves_before_it_works(
    preset: str,
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For a card as well: its bundle is quantized and compared here."""
    monkeypatch.setattr(operators, "prove_operators", lambda threads: (wrong_proof(),))
    assert cli.main(["convert", str(tiny_checkpoint.folder), str(tmp_path / "bundle"), "--preset", preset]) == 1
    assert "MatMulIntegerToFloat" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "name", "value", "said"),
    [
        ("sys", "byteorder", "big", "big-endian"),
        ("sys", "maxsize", 2**31 - 1, "32-bit Python"),
        ("platform", "machine", lambda: "riscv64", "never been tried"),
    ],
)
def test_processors_without_support_get_a_line(
    module: str, name: str, value: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unsupported_reason() is None
    monkeypatch.setattr(f"{module}.{name}", value)
    assert said in (unsupported_reason() or "")
    for refuse in (check_operators, load):
        with pytest.raises(OmniLMMError, match=said):
            refuse()


def test_verdicts_for_people() -> None:
    exact = replace(wrong_proof(), difference=0.0)
    near = OperatorProof(Operator.GELU, "any", 1e-7, 4e-7, "", 1.0, 1.0)
    assert describe([exact]) == "exact"
    assert describe([near]) == "within tolerance (25% of it)"
    assert describe([exact, near]) == "exact where it must be, else within tolerance (25% of it)"
    assert describe([wrong_proof(), near]) == f"WRONG: {wrong_proof().facts}"
    assert verdict_rows([near, exact]) == [("int8 products", "exact"), ("activations", describe([near]))]
    assert describe_sums(True) == "saturate at 16 bits for unlimited codes; bundles' codes stay below"
    assert "32 bits" in describe_sums(False)


def test_speed_is_said_with_what_is_missing() -> None:
    speed = ProductSpeed(630.0, 300.0, 2)
    fast, slow = ("sse4_2", "avx2", "avx_vnni"), ("sse4_2", "avx2")
    assert describe_speed(speed, fast, False) == "630 GOPS on 2 threads, 2.1 times as fast as fp32"
    assert describe_speed(speed, slow, True).endswith("; without VNNI, three instructions do what one does")
    assert slow_because(("sse4_2",), False) == "without AVX2, all products are slow"
    assert "dot-product" in (slow_because(("asimd",), False) or "")
    assert slow_because((), False) is None
    # what was found out counts where a system says nothing, and an emulator's says what the real processor has
    assert slow_because((), True) == slow_because(fast, True) == slow_because(slow, False)


def test_speed_is_measured() -> None:
    speed = measure_products(1)
    assert min(speed.int8_gops, speed.fp32_gflops) > 0


def test_whether_pairs_saturate_follows_from_wrong_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "prove", lambda proof_graph, threads: [replace(wrong_proof(), failure="no kernel")])
    assert not saturates()
    monkeypatch.setattr(operators, "prove", lambda proof_graph, threads: [wrong_proof()])
    assert saturates()

"""Runs every graph of the proof and says what was right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import import_onnxruntime, providers, session_options
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.support import unsupported_reason
from omnilmm_lite.proof import attention, floats, int8, nbits
from omnilmm_lite.proof.proof_graph import Array, Case, Expected, Operator, ProofGraph
from omnilmm_lite.proof.result import OperatorProof

if TYPE_CHECKING:
    import onnxruntime

OPERATORS = BUILTIN / "operators"  # written by export.graphs.proof_graphs


def prove_operators(threads: int | None = None) -> tuple[OperatorProof, ...]:
    """Every product and fused operator of the CPU presets on known answers, in about a second.

    `threads`: onnxruntime's, None for its own choice. One proof for each operator and kind of values: the worst case.
    InputError where no onnxruntime is installed.
    """
    return tuple(_worst(proof for proof_graph in proof_graphs() for proof in prove(proof_graph, threads)))


def check_operators(threads: int | None = None) -> None:
    """OmniLMMError where this machine computes an operator wrongly: said before hours of work, not after."""
    if reason := unsupported_reason():
        raise OmniLMMError(reason)
    wrong = [proof for proof in prove_operators(threads) if not proof.holds]
    if wrong:
        raise OmniLMMError(f"{wrong[0].complaint()}; `omnilmm-lite doctor` shows all; convert on another machine")


def saturates(threads: int | None = None) -> bool:
    """Whether 8-bit products add pairs in 16 bits here, so that codes that aren't limited in pairs come out wrong."""
    return any(not proof.holds and proof.failure is None for proof in prove(int8.unlimited(), threads))


def proof_graphs() -> Iterator[ProofGraph]:
    for part in (int8, nbits, floats, attention):
        yield from part.proof_graphs()


def prove(proof_graph: ProofGraph, threads: int | None = None) -> list[OperatorProof]:
    try:
        session = open_proof_graph(proof_graph, threads)
        return [
            _compare(expected, found)
            for case in proof_graph.cases
            for expected, found in zip(case.expected, _run(session, case), strict=True)
        ]
    except OmniLMMError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no base class
        message = str(error).strip().splitlines() or [type(error).__name__]
        return [_not_run(operator, message[0]) for operator in proof_graph.operators]


def open_proof_graph(proof_graph: ProofGraph, threads: int | None) -> onnxruntime.InferenceSession:
    ort = import_onnxruntime()
    options = session_options(ort, threads)
    if proof_graph.mapped:
        options.add_session_config_entry("session.disable_prepacking", "1")
    values = [ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(weight)) for weight in proof_graph.weights.values()]
    options.add_external_initializers(list(proof_graph.weights), values)
    graph = (OPERATORS / f"{proof_graph.graph}.onnx").read_bytes()
    return ort.InferenceSession(graph, options, providers=providers(Device.CPU))


def _run(session: onnxruntime.InferenceSession, case: Case) -> list[Array]:
    """The expected outputs, in their order."""
    names = [expected.output for expected in case.expected]
    if not case.in_place:
        inputs = {each.name for each in session.get_inputs()}
        outputs: list[Array] = session.run(names, {name: case.feeds[name] for name in inputs})
        return outputs
    ort = import_onnxruntime()
    values: dict[str, Any] = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in case.feeds.items()}
    binding = session.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        if output.name in case.in_place:
            binding.bind_ortvalue_output(output.name, values[case.in_place[output.name]])
        else:
            binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    found = dict(zip([each.name for each in session.get_outputs()], binding.get_outputs(), strict=True))
    return [found[name].numpy() for name in names]


def _compare(expected: Expected, found: Array) -> OperatorProof:
    wide, value = found.astype(np.float64), expected.value.astype(np.float64)
    if wide.shape != value.shape:
        failure = f"its answer has the shape {wide.shape} instead of {value.shape}"
        return _not_run(expected.operator, failure, expected.what)
    with np.errstate(invalid="ignore", divide="ignore"):
        same = wide == value  # infinities, too
        off = np.where(same, 0.0, np.abs(wide - value) / expected.magnitude)
    off[np.isnan(off)] = np.inf
    worst = np.unravel_index(off.argmax(), off.shape)
    return OperatorProof(
        expected.operator,
        expected.what,
        float(off[worst]),
        expected.tolerance,
        expected.reason,
        float(wide[worst]),
        float(value[worst]),
    )


def _not_run(operator: Operator, message: str, what: str = "any") -> OperatorProof:
    return OperatorProof(operator, what, np.inf, 0.0, "it must run", np.nan, np.nan, message)


def _worst(proofs: Iterable[OperatorProof]) -> Iterator[OperatorProof]:
    found: dict[tuple[Operator, str], OperatorProof] = {}
    for proof in proofs:
        key = (proof.operator, proof.what)
        if key not in found or proof.exceeded > found[key].exceeded:
            found[key] = proof
    yield from found.values()

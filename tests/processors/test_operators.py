"""Each operator of the CPU presets on emulated processors, against the same known answers as natively."""

from __future__ import annotations

import pytest

from benchmarks.processors.__main__ import table
from benchmarks.processors.emulation import Processor, find_emulator, run_python
from benchmarks.processors.measure import measure_here, measure_on
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.proof import Operator


@pytest.mark.emulated
def test_every_operator_is_right(processor: Processor) -> None:
    found = measure_on(processor)
    assert {proof.operator for proof in found.proofs} == set(Operator)
    assert [proof.facts for proof in found.proofs if not proof.holds] == []
    # what limited pairs are for: there the same operator is wrong with codes that aren't limited
    assert found.pairs_saturate is (processor is Processor.HASWELL)


@pytest.mark.emulated
def test_doctor_knows_an_emulated_processor(emulator: str) -> None:
    """The proof is of the instructions that run, not of what the system says about itself."""
    lines = run_python(Processor.HASWELL, ["cli.py", "doctor"]).splitlines()
    rows = {line[:16].rstrip(): line[17:] for line in lines}
    assert rows["int8 products"] == "exact"
    assert rows["int8 sums"].startswith("saturate at 16 bits")
    assert "without VNNI" in rows["int8 speed"]
    assert "problem" not in rows


def test_the_table_has_a_row_a_proof() -> None:
    measured = measure_here()
    lines = table({"here": measured})
    assert len(lines) == 2 + len(measured.proofs) + 1
    assert lines[2] == "| `MatMulIntegerToFloat` | whole numbers, limited pairs | 0 | exact |"
    assert {line.count("|") for line in lines} == {5}


def test_without_the_emulator_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OmniLMMError, match="install qemu-user"):
        find_emulator()


def test_a_failing_child_says_why() -> None:
    with pytest.raises(OmniLMMError, match=r"failed natively with 3: .*no luck"):
        run_python(None, ["-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"])

"""The tables of docs/processors.md, as Markdown: `python -m benchmarks.processors`. Needs qemu-user; about a minute."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.processors.emulation import Processor
from benchmarks.processors.measure import Measured, measure_here, measure_on
from omnilmm_lite.engine.device import import_onnxruntime
from omnilmm_lite.machine.processor import instruction_sets, processor_name
from omnilmm_lite.machine.threads import default_threads
from omnilmm_lite.proof import Operator, OperatorProof, ProductSpeed, Verdict, measure_products, verdict

INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2", "i8mm", "asimddp")  # the first there is names the column
REPEATED = 20


def main() -> None:
    native = f"{_instructions()}, {processor_name()}"
    measured = {native: measure_here()}
    for processor in Processor:
        print(f"{processor.value} ...", file=sys.stderr)
        measured[f"{processor.instructions}, emulated {processor.value}"] = measure_on(processor)
    print(f"onnxruntime {import_onnxruntime().__version__}\n")
    print("\n".join(table(measured)))
    print("\n| processor | threads | int8, GOPS | fp32, GFLOPS | int8 is faster |")
    print(_row(["---"] * 5))
    print(_row(_fastest(native)))


def _fastest(native: str) -> list[str]:
    """The best of many: what else runs on the machine only ever makes it slower."""
    threads = default_threads()
    speeds = [measure_products(threads) for _ in range(REPEATED)]
    best = ProductSpeed(max(s.int8_gops for s in speeds), max(s.fp32_gflops for s in speeds), threads)
    return [native, str(threads), f"{best.int8_gops:.0f}", f"{best.fp32_gflops:.0f}", f"{best.gain:.1f} times"]


def _instructions() -> str:
    flags = instruction_sets()
    return next((flag.replace("_", "-").upper() for flag in INSTRUCTIONS if flag in flags), "native")


def table(measured: dict[str, Measured]) -> list[str]:
    """A row a proof, a column a processor, and a last row about how int8 products are added."""
    first = next(iter(measured.values()))
    lines = [
        _row(["operator", "values", "tolerance", *measured]),
        _row(["---"] * (3 + len(measured))),
    ]
    for proof in first.proofs:
        same = [_find(other.proofs, proof) for other in measured.values()]
        tolerance = f"{proof.tolerance:.1e}" if proof.tolerance else "0"
        lines.append(_row([f"`{proof.operator.value}`", proof.what, tolerance, *map(_cell, same)]))
    pairs = ["16 bits" if each.pairs_saturate else "32 bits" for each in measured.values()]
    sums = f"`{Operator.INT8_PRODUCT.value}`"
    lines.append(_row([sums, "where pairs of products are added", "", *pairs]))
    return lines


def _find(proofs: Sequence[OperatorProof], like: OperatorProof) -> OperatorProof:
    return next(proof for proof in proofs if (proof.operator, proof.what) == (like.operator, like.what))


def _cell(proof: OperatorProof) -> str:
    found = verdict([proof])
    if found is Verdict.WRONG:
        return f"**wrong**: {proof.facts}"
    return "exact" if found is Verdict.EXACT else f"{proof.difference:.1e}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

"""What a proof found, for people: a line for each family of operators."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from omnilmm_lite.machine.processor import has_int8_dot_products
from omnilmm_lite.proof.proof_graph import Family
from omnilmm_lite.proof.result import OperatorProof, Verdict, verdict
from omnilmm_lite.proof.speed import ProductSpeed

X86, AVX2 = "sse4_2", "avx2"  # of omnilmm_lite.machine.processor.FLAGS
WITHOUT_VNNI = "without VNNI, three instructions do what one does"


def verdict_rows(proofs: Sequence[OperatorProof]) -> list[tuple[str, str]]:
    """(family, what was found), in the families' order."""
    rows = []
    for family in Family:
        own = [proof for proof in proofs if proof.operator in family.operators]
        if own:
            rows.append((family.value, describe(own)))
    return rows


def describe(proofs: Collection[OperatorProof]) -> str:
    """Of one family or operator."""
    found = verdict(proofs)
    if found is Verdict.WRONG:
        return f"WRONG: {'; '.join(proof.facts for proof in proofs if not proof.holds)}"
    if found is Verdict.EXACT:
        return "exact"
    share = max(proof.exceeded for proof in proofs)
    exact = "exact where it must be, else " if any(proof.tolerance == 0 for proof in proofs) else ""
    return f"{exact}within tolerance ({share:.0%} of it)"


def describe_sums(pairs_saturate: bool) -> str:
    """What becomes of sums of int8 products here whose codes aren't limited in pairs."""
    if pairs_saturate:
        return "saturate at 16 bits for unlimited codes; bundles' codes stay below"
    return "in 32 bits, never saturate"


def describe_speed(speed: ProductSpeed, flags: Collection[str], pairs_saturate: bool) -> str:
    threads = "" if speed.threads is None else f" on {speed.threads} thread{'' if speed.threads == 1 else 's'}"
    text = f"{speed.int8_gops:.0f} GOPS{threads}, {speed.gain:.1f} times as fast as fp32"
    reason = slow_because(flags, pairs_saturate)
    return f"{text}; {reason}" if reason else text


def slow_because(flags: Collection[str], pairs_saturate: bool) -> str | None:
    """What the processor lacks for fast int8 products; None where it has it, or nothing tells.

    Sums that saturate tell for certain, `flags` only where the system says them, and says them of this processor.
    """
    if pairs_saturate:
        return WITHOUT_VNNI
    if has_int8_dot_products(flags) is not False:
        return None
    if X86 not in flags:
        return "without dot-product instructions, products are widened to 16 bits first"
    if AVX2 not in flags:
        return "without AVX2, all products are slow"
    return WITHOUT_VNNI

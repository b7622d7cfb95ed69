"""Whether this machine computes the CPU presets' operators right, and how fast its int8 products are.

A processor's instructions decide which kernels onnxruntime takes, and kernels have been wrong: sums of 8-bit products
that saturate where VNNI is missing gave no error and bad answers. So each operator is held against known answers.
"""

from omnilmm_lite.proof.operators import check_operators, prove_operators, saturates
from omnilmm_lite.proof.proof_graph import Family, Operator
from omnilmm_lite.proof.result import OperatorProof, Verdict, verdict
from omnilmm_lite.proof.speed import ProductSpeed, measure_products

__all__ = [
    "Family",
    "Operator",
    "OperatorProof",
    "ProductSpeed",
    "Verdict",
    "check_operators",
    "measure_products",
    "prove_operators",
    "saturates",
    "verdict",
]

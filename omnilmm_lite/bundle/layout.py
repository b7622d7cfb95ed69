"""How a conversion lays out the tensors of its graphs: what writing them and planning them must agree on."""

from __future__ import annotations

import math

ALIGNMENT = 4096  # bytes; tensors of a data file begin on pages, so that onnxruntime maps them instead of reading them
INLINE_BYTES = 1024  # up to this size tensors stay in the .onnx file, where shape inference can see them
GROUP_SIZE = 128  # weights of a row that share a scale, where nothing else is asked for
STREAM_ROTATION = 64  # columns of a Hadamard block in the tower's residual stream, and at the decoder's int8 layers
INNER_ROTATION = 32  # in the tower's MLPs
# MatMulNBits on a card reads the quantized weight directly for a single row only if this divides the output's width;
# otherwise every token first writes the whole weight out as fp16 (seen in what memory onnxruntime-gpu 1.31.1 asks for).
NBITS_ROW_MULTIPLE = 8
PAIR_SUM = 128  # what two neighbouring int8 codes of one sign may add up to: see export/weights/pairs.py


def widest_block(columns: int, limit: int) -> int:
    """The largest power of two that divides the columns, `limit` (a power of two) at most."""
    return math.gcd(columns, limit)

"""What a quantization needs on disk, known before it starts."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from export.keys import decoder_keys
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import OmniLMMError
from quantize.gptq_folder import LINEARS
from quantize.packing import Layout

GB = 1e9


def packed_bytes(shape: tuple[int, int], layout: Layout) -> int:
    """A quantized weight (out, in): codes, and for each group of a row an fp16 scale and a zero point."""
    rows, columns = shape
    groups = 1 if layout.group_size == -1 else columns // layout.group_size
    return rows * columns * layout.bits // 8 + rows * groups * (16 + layout.bits) // 8


def checkpoint_bytes(config: DecoderConfig, layouts: Mapping[str, Layout], default: Layout) -> int:
    """The GPTQ checkpoint: quantized linear layers with their g_idx, all else in fp16."""
    total = 0
    for name, shape in decoder_keys(config).items():
        stem = name.removesuffix(".weight")
        if stem.endswith(LINEARS):
            rows, columns = shape
            total += packed_bytes((rows, columns), layouts.get(stem, default)) + 4 * columns
        else:
            total += 2 * math.prod(shape)
    return total


def spool_bytes(config: DecoderConfig, tokens: int) -> int:
    """One stream of `tokens` tokens: hidden states on their way in and out of a layer, and the attention's results."""
    return 4 * tokens * (2 * config.hidden_size + config.q_dim)


def check_room(folder: Path, needed: int) -> None:
    """OmniLMMError where the disk has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OmniLMMError(
            f"{folder}: the quantization needs {needed / GB:.1f} GB there, and {free / GB:.1f} GB are free: make room, "
            "or name another --work-dir"
        )


@contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """A full disk inside becomes one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OmniLMMError(
            f"{folder}: the disk is full; finished layers are kept: make room and give the same command again"
        ) from error

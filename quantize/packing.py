"""What a packing asks of a decoder's sizes: known before hours of work."""

from __future__ import annotations

from omnilmm_lite.bundle.packing import FPA_INTB_GROUP_SIZE, FPA_INTB_ROW_MULTIPLES, Packing
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError


def check_decoder(config: DecoderConfig, packing: Packing) -> None:
    """InputError where the products of such a decoder are of sizes that the packing's kernels don't take."""
    if packing is Packing.BLOCKWISE:
        return
    rows = {
        "q_dim + 2 kv_dim": config.q_dim + 2 * config.kv_dim,
        "hidden_size": config.hidden_size,
        "2 intermediate_size": 2 * config.intermediate_size,
    }
    columns = {
        "hidden_size": config.hidden_size,
        "q_dim": config.q_dim,
        "intermediate_size": config.intermediate_size,
    }
    wanted = [(columns, FPA_INTB_GROUP_SIZE), (rows, FPA_INTB_ROW_MULTIPLES[4])]
    for sizes, multiple in wanted:
        for name, size in sizes.items():
            if size % multiple:
                raise InputError(
                    f"--packing {packing.value}: the decoder's {name} is {size}, and its kernels take multiples of "
                    f"{multiple}; leave it out"
                )

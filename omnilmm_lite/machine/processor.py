"""The processor: its name, its instruction sets, its last-level cache."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection
from pathlib import Path

from omnilmm_lite.machine.cores import CPUINFO, cpuinfo_field
from omnilmm_lite.machine.system_file import ROOT, read_text

# The instructions that matrix products in few bits live on, by Linux's names (x86, then Arm). sse4_2 and asimd (NEON)
# tell a processor that has none of the others from a system that says nothing.
FLAGS = (
    "sse4_2", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx_vnni_int8",
    "amx_int8", "amx_bf16", "asimd", "asimddp", "sve", "i8mm", "bf16", "sme",
)  # fmt: skip
# Those that multiply int8 and add the products up in 32 bits at once. Without them, AVX2 adds pairs of products in 16
# bits, which not all pairs fit in; NEON widens first.
INT8_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm"})
# Those that torch's and bitsandbytes' products in bf16 are made for; elsewhere fp32 is the faster.
BF16_PRODUCTS = frozenset({"avx512_bf16", "amx_bf16"})
LAST_LEVEL_CACHE = "sys/devices/system/cpu/cpu0/cache/index3/size"


def processor_name(root: Path = ROOT) -> str:
    """As its maker calls it, else its architecture."""
    name = cpuinfo_field(read_text(root / CPUINFO), "model name")  # Arm's has none
    return name or platform.processor() or platform.machine()


def instruction_sets(root: Path = ROOT) -> tuple[str, ...]:
    """Those of FLAGS that the processor has, in their order; empty where the system doesn't say (outside Linux)."""
    text = read_text(root / CPUINFO)
    found = {*cpuinfo_field(text, "flags").split(), *cpuinfo_field(text, "Features").split()}
    return tuple(flag for flag in FLAGS if flag in found)


def has_int8_dot_products(flags: Collection[str]) -> bool | None:
    """Whether one of these instruction sets is made for products of int8; None where none are known."""
    return any(flag in INT8_DOT_PRODUCTS for flag in flags) if flags else None


def has_bf16_products(flags: Collection[str]) -> bool:
    """Whether one of these instruction sets is made for products of bf16."""
    return not BF16_PRODUCTS.isdisjoint(flags)


def last_level_cache_bytes(root: Path = ROOT) -> int:
    """0 where the system doesn't say."""
    match = re.fullmatch(r"([0-9]+)K", read_text(root / LAST_LEVEL_CACHE))
    return 1024 * int(match[1]) if match else 0

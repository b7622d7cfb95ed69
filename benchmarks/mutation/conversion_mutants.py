"""Mistakes in what converts a model, likewise."""

from __future__ import annotations

from benchmarks.mutation.mutant import Mutant

PACKING = "tests/quantize/folder/test_packing.py"
GPTQ = "tests/quantize/gptq/test_gptq.py"
GRID = "tests/quantize/gptq/test_grid.py"
CORRECTION = "tests/quantize/decoder/test_correction.py"
BUDGET = "tests/quantize/decoder/test_budget.py"
REFERENCE = "tests/export/test_reference.py"
HEADER = "tests/export/checkpoint/test_safetensors_header.py"
CHECKPOINT = "tests/export/checkpoint/test_checkpoint.py"
PAIRS = "tests/export/test_pairs.py"
INT8 = "tests/quantize/tower/test_int8.py"

MUTANTS = (
    # ---- export ----
    Mutant(
        "export/checkpoint/checkpoint.py",
        "(max(0, size - CHUNK), CHUNK), *samples]",
        "(max(0, size - CHUNK), CHUNK)]",
        CHECKPOINT + " -k fingerprint",
    ),
    Mutant(
        "export/checkpoint/safetensors_header.py",
        "        if entry.begin != end:",
        "        if entry.begin < end:",
        HEADER,
    ),
    Mutant("export/checkpoint/safetensors_header.py", "    if end > data_size:", "    if end > data_size + 8:", HEADER),
    Mutant("export/reference/model.py", "distance < sliding_window", "distance <= sliding_window", REFERENCE),
    Mutant(
        "export/reference/model.py",
        "self.attn(query, kv + self.key_positions(), kv)",
        "self.attn(query, kv + self.key_positions(), kv + self.key_positions())",
        REFERENCE,
    ),
    Mutant("export/reference/model.py", "return self.norm(x)[:, 1:]", "return self.norm(x)[:, :-1]", REFERENCE),
    Mutant("omnilmm_lite/bundle/layout.py", "PAIR_SUM = 128", "PAIR_SUM = 129", PAIRS),
    Mutant(
        "export/weights/matmul_nbits.py",
        "np.left_shift(codes[:, 1::2], np.uint8(4))",
        "np.left_shift(codes[:, 1::2], np.uint8(3))",
        "tests/export/test_graphs.py",
    ),
    Mutant(
        "export/weights/int8.py",
        "self.zero_point).clamp_(0, ACTIVATION_CODES)",
        "self.zero_point).clamp_(1, ACTIVATION_CODES)",
        INT8,
    ),
    # ---- quantize ----
    Mutant("quantize/gptq/gptq.py", "factor.diagonal() ** -2", "factor.diagonal() ** -1", GPTQ + " -k importance"),
    Mutant(
        "quantize/gptq/gptq.py",
        "descending=True, stable=True",
        "descending=False, stable=True",
        GPTQ + " -k importance",
    ),
    Mutant("quantize/gptq/grid.py", "REFINEMENTS = 3", "REFINEMENTS = 0", GRID),
    Mutant("quantize/gptq/grid.py", "    wins = error < least\n", "    wins = error > least\n", GRID),
    Mutant(
        "quantize/gptq/cholesky.py", "    diagonal[dead] = mean\n", "    diagonal[dead] = 0\n", GPTQ + " -k zero_damps"
    ),
    Mutant("quantize/decoder/correction.py", "min(max(along / size, 0.0), 1.0)", "along / size", CORRECTION),
    Mutant(
        "quantize/decoder/correction.py",
        "            if gain > best[index].gain:",
        "            if gain >= 0:",
        CORRECTION,
    ),
    Mutant(
        "quantize/decoder/sensitivity.py",
        "~sample.is_image.to(self.device)",
        "torch.ones_like(sample.is_image)",
        "tests/quantize/decoder/test_sensitivity.py",
    ),
    Mutant(
        "quantize/decoder/budget.py",
        "            continue  # another unit's",
        "            break  # another unit's",
        BUDGET + " -k room",
    ),
    Mutant("quantize/decoder/budget.py", "if total + more > size:", "if total + more >= size:", BUDGET + " -k most"),
    Mutant("quantize/folder/packing.py", "zeros.view(np.uint32) - ONES", "zeros.view(np.uint32) + ONES", PACKING),
    Mutant("quantize/folder/packing.py", "LARGEST_KERNEL_GROUP // 2", "LARGEST_KERNEL_GROUP", PACKING),
    Mutant(
        "quantize/disk.py",
        "sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())",
        "sum(each.st_size for each in found)",
        "tests/quantize/test_disk.py",
    ),
    Mutant(
        "quantize/decoder/spool.py", "[4 * width * start", "[2 * width * start", "tests/quantize/decoder/test_spool.py"
    ),
)

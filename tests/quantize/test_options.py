"""The command line's options for quantization."""

from __future__ import annotations

import pytest

from omnilmm_lite.errors import InputError
from quantize.options import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4.2GB", 4_200_000_000),
        ("4 gb", 4_000_000_000),
        ("3MiB", 3 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("700B", 700),
        ("12", 12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4,2GB", "4.2TB", "4.2iB", "4..2GB", "four", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match=r"--target-size: .* is no size; write it like 4\.2GB or 4GiB"):
        parse_size(text)


def test_a_size_is_refused_by_its_options_name() -> None:
    with pytest.raises(InputError, match=r"^--vram: 'much' is no size"):
        parse_size("much", "--vram")

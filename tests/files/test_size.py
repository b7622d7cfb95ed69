"""Bytes as people read them: no number is shown as zero that isn't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.files.size import shown_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (100_000, "0.1 MB"),
        (8_351_745, "8.4 MB"),
        (100_000_000, "0.1 GB"),
        (23_225_384_960, "23.2 GB"),
        (10**15, "1,000,000.0 GB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert shown_size(size) == text


@given(st.integers(1, 10**15))
def test_nothing_is_rounded_to_zero(size: int) -> None:
    number, unit = shown_size(size).replace(",", "").split()
    shown = float(number) * {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}[unit]
    assert shown == pytest.approx(size, rel=0.51)
    assert shown > 0

"""States on disk: what was written is read, whatever the order, and nothing else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantize.decoder.spool import Spool

CPU = torch.device("cpu")


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), width=st.integers(1, 5), data=st.data())
def test_every_sequence_reads_as_it_was_last_written(lengths: list[int], width: int, data: st.DataObject) -> None:
    writes = data.draw(st.lists(st.tuples(st.integers(0, len(lengths) - 1), st.integers(0, 99)), max_size=12))
    with TemporaryDirectory() as folder, Spool(Path(folder) / "states", lengths, width, CPU) as spool:
        held = {}
        for index, seed in [*((index, index) for index in range(len(lengths))), *writes]:
            held[index] = torch.randn(1, lengths[index], width, generator=torch.Generator().manual_seed(seed))
            spool.write(index, held[index])
        assert all(torch.equal(spool.read(index), states) for index, states in held.items())


def test_wrong_shapes_and_short_files_are_no_states(tmp_path: Path) -> None:
    with Spool(tmp_path / "states", [2, 3], 4, CPU) as spool:
        with pytest.raises(ValueError, match="sequence 1 has 3 tokens"):
            spool.write(1, torch.zeros(1, 2, 4))
        spool.write(0, torch.zeros(1, 2, 4))
        with pytest.raises(EOFError, match="ends before sequence 1"):
            spool.read(1)

"""What writing tensors says of a disk that takes no more."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

WRITE = """
import sys
from pathlib import Path
import numpy as np
from export.checkpoint.safetensors_file import write_tensors
try:
    write_tensors(Path(sys.argv[1]), {"a": np.zeros(100_000, np.float32)})
except OSError as error:
    print(error.errno, error.filename)
"""


@pytest.mark.skipif(not Path("/usr/bin/prlimit").exists(), reason="there is no prlimit")
def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    """Files may not grow beyond a limit, in place of a disk that is full."""
    command = ["prlimit", "--fsize=10000", sys.executable, "-c", WRITE, str(tmp_path / "a.safetensors")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    number, name = done.stdout.split(maxsplit=1)
    assert int(number) == errno.EFBIG and Path(name.strip()).parent == tmp_path
    assert list(tmp_path.iterdir()) == []

"""The engine's packages: quiet, off the network, and absent from the runtime without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.extras import Extra, install_command
from omnilmm_lite.torch_engine import packages
from tests.paths import ROOT


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join(map(str, (*paths, ROOT)))
    environment = {**os.environ, "PYTHONPATH": places}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_bitsandbytes_fetches_nothing_and_says_nothing(tmp_path: Path) -> None:
    """Where `kernels` is installed, it would be asked for code from the hub while bitsandbytes is imported."""
    (tmp_path / "kernels.py").write_text("print('asked')\ndef get_kernel(*_, **__): print('fetched')\n", "utf-8")
    code = (
        "import sys, omnilmm_lite.torch_engine.packages as p; p.import_bitsandbytes(); "
        "assert 'kernels' not in sys.modules; import kernels"  # which others may use as before
    )
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "asked\n", "")


@pytest.mark.parametrize("name", ["torch", "safetensors", "sentencepiece", "google.protobuf"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as raised:
        packages.check_torch_installed()
    assert str(raised.value).endswith(f"needs the package {name}: run {install_command(Extra.TORCH)}")


def test_a_missing_bitsandbytes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    packages.import_bitsandbytes.cache_clear()
    with pytest.raises(InputError, match="needs the package bitsandbytes: run "):
        packages.import_bitsandbytes()
    packages.import_bitsandbytes.cache_clear()


def test_answers_of_a_bundle_import_no_torch() -> None:
    code = (
        "import sys, cli; "
        "code = cli.main(['run', '-p', 'Hello', '--greedy', '--model', 'tiny']); "
        "print([name for name in ('torch', 'bitsandbytes', 'safetensors') if name in sys.modules], code)"
    )
    done = run(code)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr

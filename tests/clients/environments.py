"""An environment for each client: what they depend on doesn't go together, and nothing of it belongs into ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

HERE = Path(__file__).parent
STAMP = "requirements.txt"  # written once all is installed


@dataclass(frozen=True)
class Client:
    """A client that is tried. `script`: of this folder, with its arguments. `packages`: what it needs, in the newest
    versions that go together; none: it is installed with the tests."""

    name: str
    script: tuple[str, ...]
    packages: tuple[str, ...] = ()

    @property
    def is_node(self) -> bool:
        return self.script[0].endswith(".mjs")

    def command(self, work: Path) -> tuple[list[str], dict[str, str]]:
        """What runs it, and the variables that this needs; the environment is made where it isn't there yet.
        CalledProcessError where that failed."""
        if self.is_node:
            folder = _node_folder(work / "node", self.packages)
            script = shutil.copy(HERE / self.script[0], folder)
            return ["node", str(script), *self.script[1:]], {"CLIENT_PACKAGES": str(folder / "node_modules")}
        python = _python(work / self.name, self.packages) if self.packages else Path(sys.executable)
        return [str(python), "-m", f"tests.clients.{self.script[0]}"], {"PYTHONPATH": str(ROOT)}


def _python(folder: Path, packages: tuple[str, ...]) -> Path:
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if _is_made(folder, packages):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
    (folder / STAMP).write_text("\n".join(packages), encoding="utf-8")
    return python


def _node_folder(folder: Path, packages: tuple[str, ...]) -> Path:
    """A script finds the packages of the folder that it lies in, so they are copied there."""
    if not _is_made(folder, packages):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
        npm = shutil.which("npm") or "npm"  # on Windows npm.cmd
        subprocess.run([npm, "install", "--no-audit", "--no-fund", *packages], cwd=folder, check=True, env=os.environ)
        (folder / STAMP).write_text("\n".join(packages), encoding="utf-8")
    shutil.copy(HERE / "cases.mjs", folder)
    return folder


def _is_made(folder: Path, packages: tuple[str, ...]) -> bool:
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == "\n".join(packages)

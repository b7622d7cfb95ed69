"""Parts of this program that may be installed or not, and the command that installs one in this very environment.

What only an error needs is imported for it: every command imports this.
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import Any

from omnilmm_lite.errors import InputError

DISTRIBUTION = "omnilmm-lite"
ENGINE = "onnxruntime"  # the module, whichever build brings it
ENGINE_PACKAGES = (ENGINE, "onnxruntime-gpu")  # which can't share an environment


class Extra(Enum):
    """Under these names they stand in pyproject.toml."""

    CPU = "cpu"
    CONVERT = "convert"
    EARS = "ears"
    GPU = "gpu"
    LIVE = "live"
    PARQUET = "parquet"
    SERVE = "serve"
    TORCH = "torch"
    VOICE = "voice"


def missing_package(what: str, error: ImportError, *extras: Extra) -> InputError:
    """The error that says what `what` lacks, and what to type; `error` is what its import raised."""
    package = f"the package {error.name}" if error.name else f"a package that doesn't load ({error})"
    return InputError(f"{what} needs {package}: run {install_command(*extras)}")


def install_command(*extras: Extra) -> str:
    """The command for this system's shell. It adds an engine for the CPU where there is none, and leaves the one that
    there is."""
    from importlib.util import find_spec

    wanted = {extra.value for extra in extras}
    if find_spec(ENGINE) is None and Extra.GPU not in extras:
        wanted.add(Extra.CPU.value)
    where, options = _origin()
    return package_command(*options, f"{where}[{','.join(sorted(wanted))}]")


def package_command(*requirement: str) -> str:
    """The command for this system's shell that installs one package: its name, with pip's options before it."""
    return _pip("install", *requirement)


def engine_commands(engine: Extra) -> tuple[str, str]:
    """The commands that leave one whole build of the engine here, whatever there is now. `engine`: CPU or GPU."""
    where, options = _origin()
    uninstall = _pip("uninstall", *ENGINE_PACKAGES)
    return uninstall, _pip("install", *options, f"{where}[{engine.value}]")


def reinstall_command() -> str:
    """The command that installs this program's own files anew."""
    where, options = _origin()
    return _pip("install", "--force-reinstall", "--no-deps", *options, where)


def _pip(action: str, *words: str) -> str:
    import shlex
    import subprocess
    from importlib.util import find_spec

    if find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", action, *(["-y"] if action == "uninstall" else []), *words]
    else:  # uv makes environments without it
        command = ["uv", "pip", action, "--python", sys.executable, *words]
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)


def _origin() -> tuple[str, list[str]]:
    """What this program was installed from, and pip's options for that: a folder or a wheel that is still there, else
    its name. Source: PEP 610."""
    import json
    from importlib import metadata
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        text = None
    direct: dict[str, Any] = json.loads(text) if text else {}
    url = urlsplit(direct.get("url", ""))
    if url.scheme == "file" and (path := Path(url2pathname(url.path))).exists():
        return str(path), ["-e"] if direct.get("dir_info", {}).get("editable") else []
    return DISTRIBUTION, []

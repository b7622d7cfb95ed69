"""What must be the same on the driver and on every worker, or texts would depend on where a picture came to."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.extras import ENGINE_PACKAGES
from omnilmm_lite.version import __version__

PACKAGES = ("numpy", "pillow", "tokenizers")


@functools.cache
def environment() -> dict[str, str]:
    """This process's: versions, and a hash of this package's own code, since a checkout keeps its version."""
    found = {"omnilmm-lite": __version__, "its code": _code()}
    for name in (*ENGINE_PACKAGES, *PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_environment(wanted: Mapping[str, str], found: Mapping[str, str], where: str) -> None:
    """InputError where they differ. `wanted`: the driver's; `found`: of the node `where`."""
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{where}: {name} is {found.get(name, 'not installed')} there and {wanted.get(name, 'not installed')} "
                "here; install the same versions on all nodes"
            )


def _code() -> str:
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]

"""A folder that holds a recogniser's model, named by the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.extras import package_command


class ModelFolder:
    """`kind:FOLDER`, as the user wrote it. InputError where there is no such folder."""

    def __init__(self, kind: str, folder: Path, holds: str) -> None:
        """`holds`: what the folder has to hold, and where such folders come from."""
        self.name = f"{kind}:{folder}"
        self.folder = folder
        self._holds = holds
        if not folder.is_dir():
            raise self.error("there is no such folder")

    def error(self, found: str) -> InputError:
        return InputError(f"--ears {self.name}: {found}; it has to be {self._holds}")

    def file(self, pattern: str) -> Path:
        """The file of that name; of several (precisions of one model) the one with "int8" in its name. InputError
        without one."""
        found = sorted(self.folder.glob(pattern), key=lambda path: ("int8" not in path.name, path.name))
        if not found:
            raise self.error(f"no {pattern} is in it")
        return found[0]

    @contextmanager
    def opening(self) -> Iterator[None]:
        """What the package raises in the block is the folder's fault."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise self.error(f"its model can't be read ({type(error).__name__})") from None


def missing_recogniser(kind: str, package: str, error: ImportError) -> InputError:
    """The error that says how to install `package`; `error` is what its import raised."""
    lacking = "" if error.name and error.name.split(".")[0] == package.replace("-", "_") else f" ({error})"
    return InputError(f"--ears {kind} needs the package {package}{lacking}: run {package_command(package)}")

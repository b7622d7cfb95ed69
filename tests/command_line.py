"""The program's command line, run in the tests' own process."""

from __future__ import annotations

import functools
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

import cli
from omnilmm_lite import model as model_module
from omnilmm_lite.bundle.manifest import MANIFEST
from omnilmm_lite.model import load
from tests.bundle.manifests import edit_manifest

load_once = functools.cache(load)

Run = Callable[..., "Result"]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.out)
        return data


class Terminal(io.StringIO):
    """A standard input that somebody sits at."""

    def isatty(self) -> bool:
        return True


def runner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process; each bundle is loaded once."""
    monkeypatch.setattr(model_module, "load", load_once)

    def call(*argv: object, stdin: IO[str] | None = None) -> Result:
        monkeypatch.setattr(sys, "stdin", stdin or Terminal())
        code = cli.main([str(word) for word in argv])
        return Result(code, *capsys.readouterr())

    return call


def refused(result: Result, code: int = 2) -> str:
    """The complaint, which is one line on stderr, with nothing on stdout."""
    assert (result.code, result.out) == (code, "")
    line, end = result.err[:-1], result.err[-1:]
    assert end == "\n"
    assert "\n" not in line
    assert line.startswith("omnilmm-lite: ")
    places = line.split(": ")[:-1]
    assert len(set(places)) == len(places), "what it is about is said twice"
    return line


def linked(bundle: Path, folder: Path) -> Path:
    """A bundle of links, with a manifest of its own."""
    folder.mkdir()
    for path in bundle.iterdir():
        if path.name != MANIFEST:
            (folder / path.name).hardlink_to(path)
    shutil.copyfile(bundle / MANIFEST, folder / MANIFEST)
    return folder


def edit(folder: Path, **changes: object) -> None:
    edit_manifest(folder, lambda data: data.update(changes))

"""The command that installs what is missing, in this very environment."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import cli
from omnilmm_lite.machine.extras import Extra, install_command, missing_package
from tests.paths import ROOT
from tests.systems import not_on_windows

Installed = Callable[..., None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Makes the environment one in which the program was installed like that, and modules are missing."""

    class Distribution:
        def __init__(self, direct_url: object) -> None:
            self.direct_url = direct_url

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if self.direct_url is None else json.dumps(self.direct_url)

    def install(direct_url: object = None, missing: tuple[str, ...] = ()) -> None:
        def find_spec(name: str) -> ModuleSpec | None:
            return None if name in missing else ModuleSpec(name, None)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        monkeypatch.setattr(metadata, "distribution", lambda _: Distribution(direct_url))
        monkeypatch.setattr(sys, "executable", "/home/me/my env/bin/python")

    return install


@not_on_windows  # whose shells quote otherwise
def test_the_command_is_for_this_environment(installed: Installed, tmp_path: Path) -> None:
    python = "'/home/me/my env/bin/python' -m pip install"
    installed()
    assert install_command(Extra.SERVE) == f"{python} 'omnilmm-lite[serve]'"
    installed({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert install_command(Extra.SERVE) == f"{python} -e '{tmp_path}[serve]'"
    wheel = tmp_path / "omnilmm_lite-1-py3-none-any.whl"
    wheel.touch()
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert install_command(Extra.TORCH) == f"{python} '{wheel}[torch]'"
    wheel.unlink()
    assert install_command(Extra.TORCH) == f"{python} 'omnilmm-lite[torch]'"
    installed({"url": "https://example.org/omnilmm-lite.git", "vcs_info": {"vcs": "git"}})
    assert install_command(Extra.TORCH) == f"{python} 'omnilmm-lite[torch]'"


@not_on_windows
def test_an_engine_is_added_where_there_is_none(installed: Installed) -> None:
    """And never a second one: the two builds overwrite each other."""
    installed(missing=("onnxruntime",))
    assert install_command(Extra.CONVERT).endswith("'omnilmm-lite[convert,cpu]'")
    assert install_command(Extra.CPU).endswith("'omnilmm-lite[cpu]'")


@not_on_windows
def test_an_environment_without_pip(installed: Installed) -> None:
    installed(missing=("pip",))
    words = ["uv", "pip", "install", "--python", "/home/me/my env/bin/python", "omnilmm-lite[serve]"]
    assert shlex.split(install_command(Extra.SERVE)) == words


def test_a_program_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert "omnilmm-lite[serve]" in install_command(Extra.SERVE)


def test_a_package_that_does_not_load_is_said() -> None:
    error = missing_package("conversion", ImportError("libtorch.so: no such file"), Extra.CONVERT)
    assert str(error).startswith("conversion needs a package that doesn't load (libtorch.so: no such file): run ")


def test_the_extras_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {extra.value for extra in Extra} <= project["optional-dependencies"].keys()


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("uvicorn", ["serve"], Extra.SERVE),
        ("onnx", ["convert", "CHECKPOINT", "out"], Extra.CONVERT),
        ("safetensors", ["setup", "CHECKPOINT", "--yes"], Extra.CONVERT),
        ("safetensors", ["run", "-p", "Hello", "--model", "CHECKPOINT"], Extra.TORCH),
    ],
)
def test_commands_say_it(missing: str, arguments: list[str], extra: Extra, tmp_path: Path) -> None:
    """In a process of its own, in which nothing was imported before."""
    done = without(missing, [word.replace("CHECKPOINT", str(ROOT / "examples/tiny/checkpoint")) for word in arguments],
                   tmp_path)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith(f" needs the package {missing}: run {install_command(extra)}")


def test_a_ready_bundle_is_set_up_without_what_converts(tmp_path: Path) -> None:
    bundle = ROOT / "omnilmm_lite" / "builtin" / "tiny"
    done = without("safetensors", ["setup", str(bundle), "--as", "mine", "--yes"], tmp_path)
    assert done.returncode == 0, done.stderr


def without(module: str, arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{module!r}] = None; import cli; sys.exit(cli.main(sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parent), "OMNILMM_HOME": str(home / "home")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)

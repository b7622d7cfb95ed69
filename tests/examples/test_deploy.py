"""The container's recipe and the system's unit: by a linter, and against what they are about to start."""

from __future__ import annotations

import fnmatch
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from cli import build_parser
from omnilmm_lite.commands.home.in_use import fill_in
from tests.paths import ROOT

DEPLOY = ROOT / "examples" / "deploy"


def test_the_recipe_passes_its_linter() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_and_the_unit_start_a_command_that_there_is() -> None:
    recipe = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    command = next(line for line in recipe.splitlines() if line.startswith("CMD"))
    args = build_parser().parse_args([part.strip(' "') for part in command.removeprefix("CMD").strip(" []").split(",")])
    assert args.host == "0.0.0.0"
    unit = (DEPLOY / "omnilmm-lite.service").read_text(encoding="utf-8")
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    program, *arguments = shlex.split(start.removeprefix("ExecStart="))
    assert program.endswith("/omnilmm-lite")
    args = build_parser().parse_args(arguments)
    fill_in(args)
    assert args.host == "127.0.0.1"


def test_the_container_gets_all_that_a_wheel_is_made_of_and_runs_as_nobody_special() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {path.name for path in ROOT.iterdir() if any(fnmatch.fnmatch(path.name, name) for name in packages)}
    modules = {f"{module}.py" for module in project["tool"]["setuptools"]["py-modules"]}
    files = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    data = {file for files in project["tool"]["setuptools"]["data-files"].values() for file in files}
    assert folders - {"omnilmm_lite.egg-info"} | modules | files | data == kept
    recipe = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert "USER 1000" in recipe
    assert any(line.startswith("HEALTHCHECK") for line in recipe)

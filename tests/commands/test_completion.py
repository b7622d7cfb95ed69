"""The scripts of `omnilmm-lite completion`, asked by the shell that they are for where that is there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import cli
from omnilmm_lite.commands.shell.completion import SHELLS, completion_script
from tests.systems import not_on_windows

pytestmark = not_on_windows  # which has none of these shells

# What bash does with Tab behind the last word.
TAB = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
$(complete -p omnilmm-lite | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user with one model, in a folder with a picture and a folder."""
    (tmp_path / "home" / "models" / "OmniLMM-12B").mkdir(parents=True)
    (tmp_path / "here" / "album").mkdir(parents=True)
    (tmp_path / "here" / "cat.png").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMNILMM_HOME": str(tmp_path / "home")}


def found(shell: str, words: Sequence[str], environment: dict[str, str], folder: Path) -> set[str]:
    """What the shell offers for the last of the words."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    script = folder.parent / f"completion.{shell}"
    script.write_text(completion_script(cli.build_parser(), shell), encoding="utf-8")
    if shell == "bash":
        command = [program, "--norc", "-c", f"source {shlex.quote(str(script))}\n{TAB}", "bash", *words]
    else:
        line = shlex.quote(" ".join(words))
        command = [program, "--no-config", "-c", f"source {shlex.quote(str(script))}; complete -C {line}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return {line.partition("\t")[0].rstrip("/") for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["comp"], {"completion"}),
        (["models", "rem"], {"remove"}),
        (["models", "remove", ""], {"OmniLMM-12B"}),
        (["run", "--mod"], {"--model"}),
        (["run", "--model", ""], {"OmniLMM-12B", "album"}),
        (["run", "--weights", ""], {"nf4", "int8", "bf16", "fp32"}),
        (["serve", "--device", ""], {"auto", "cpu", "cuda"}),
        (["run", "c"], {"cat.png"}),
        (["caption", ""], {"album"}),
    ],
)
def test_tab(shell: str, words: Sequence[str], expected: set[str], environment: dict[str, str], tmp_path: Path) -> None:
    assert found(shell, ["omnilmm-lite", *words], environment, tmp_path / "here") == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that --help tells of."""
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    commands = re.findall(r"^    (\w+) ", cli.build_parser().format_help(), re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        options = set(re.findall(r"--([a-z][a-z-]*)", capsys.readouterr().out))
        assert "help" in options
        missing = [name for name in options if not re.search(rf"(--|-l ){name}(?![a-z-])", script)]
        assert (re.search(rf"\b{command}\b", script) is not None, missing) == (True, [])

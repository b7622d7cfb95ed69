"""Records a live session with the built-in model: docs/images/live.svg, the terminal, and live-report.png, its report.

A video of four scenes is watched, questions are typed while it plays, and the report is what Chromium shows of it.

    python -m examples.record_live docs/images
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from pyte.screens import Screen

from examples.record_chat import COLUMNS, draw
from tests.live.media.scenes import write_video
from tests.serve.browser import chromium
from tests.terminal.emulated_terminal import CTRL_D, ENTER, EmulatedTerminal

ROWS = 40
SCENE_S = 6.0
QUESTIONS = (("cat", "What is this?"), ("owl", "Is there a cat?"), ("circle", "What color is it?"))
WIDTH = 960


def main() -> None:
    """Writes both files into the folder that the command line names."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        write_video(Path(scratch) / "desk.mp4", seconds=SCENE_S)
        (folder / "live.svg").write_text(draw(play(Path(scratch))), encoding="utf-8")
        report = Path(scratch) / "desk.jsonl.html"
        command = [sys.executable, "-m", "cli", "live", "--report", str(Path(scratch) / "desk.jsonl")]
        subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, capture_output=True)
        with chromium() as browser:
            page = browser.new_page(viewport={"width": WIDTH, "height": 800})
            page.goto(report.as_uri())
            page.screenshot(path=folder / "live-report.png", full_page=True)
    if optimise := shutil.which("pngquant"):
        subprocess.run([optimise, "--force", "--ext", ".png", str(folder / "live-report.png")], check=True)


def play(folder: Path) -> Screen:
    """The screen after the session."""
    program = Path(sys.executable).parent
    env = {"XDG_STATE_HOME": str(folder / "state"), "PS1": "$ ", "PATH": f"{program}:/usr/bin:/bin"}
    shell = ["/bin/bash", "--norc", "--noprofile"]
    terminal = EmulatedTerminal(shell, cwd=folder, env=env, columns=COLUMNS, rows=ROWS)
    try:
        terminal.wait_for("$")
        terminal.type("omnilmm-lite live --greedy --source desk.mp4 --transcript desk.jsonl --keep-frames", ENTER)
        for seen, question in QUESTIONS:
            terminal.wait_for(f"{seen} on a")
            terminal.type(question, ENTER)
            terminal.wait_for(partial(has_answer, question))
        terminal.wait_for("no more frames")
        terminal.type(CTRL_D)
        terminal.wait_for(lambda text: text.endswith("$"))
    finally:
        terminal.kill()
    return terminal.screen


def has_answer(question: str, text: str) -> bool:
    """Whether the screen's text has a whole line of an answer behind the question."""
    return "\n" in text.rpartition(f"? {question}")[2].partition(">")[2]


if __name__ == "__main__":
    main()

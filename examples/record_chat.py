"""Records a chat with the built-in model as a picture of the terminal: docs/images/chat.svg.

The real command runs on a terminal of its own and gets keys; what pyte shows at the end is drawn.

    python -m examples.record_chat docs/images/chat.svg
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from pyte.screens import Char, Screen

from tests.terminal.emulated_terminal import CTRL_D, ENTER, TAB, EmulatedTerminal

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS = 84, 64
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 18, 14, 16
GROUND, LETTERS = "#1b1e28", "#d7dae0"
NAMED = {  # of pyte's names
    "default": LETTERS,
    "black": "#3b4048",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d7dae0",
    "brightblack": "#7f848e",
}
READY = "tokens · /help"


def main() -> None:
    """Writes the file that the command line names."""
    Path(sys.argv[1]).write_text(draw(play()), encoding="utf-8")


def play() -> Screen:
    """The screen after the session."""
    program = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as state:
        env = {"XDG_STATE_HOME": state, "PS1": "$ ", "PATH": f"{program}:/usr/bin:/bin"}
        shell = ["/bin/bash", "--norc", "--noprofile"]
        terminal = EmulatedTerminal(shell, cwd=ROOT, env=env, columns=COLUMNS, rows=ROWS)
        try:
            terminal.wait_for("$")
            terminal.type("omnilmm-lite run examples/pictures/cat.png --greedy", ENTER)
            terminal.wait_for(READY)
            ask(terminal, "What is this?", "This is a cat.\n")
            ask(terminal, "What colour is it?", "yellow.\n")
            terminal.type("/image examples/pictures/easy", TAB, "t", TAB)
            terminal.wait_for("easy-vqa-teal-circle.png")
            terminal.type(ENTER)
            terminal.wait_for("a new conversation begins")
            terminal.wait_for(READY)
            ask(terminal, "is there a triangle?", "\nno\n")
            ask(terminal, "What is this?", "circle.\n")
            ask(terminal, "/info", "last answer")
            terminal.type(CTRL_D)
            terminal.wait_for(lambda text: READY not in text and text.endswith("$"))
        finally:
            terminal.kill()
    return terminal.screen


def ask(terminal: EmulatedTerminal, line: str, answer: str) -> None:
    """Types a line, and waits for what it gives and for the next prompt."""
    terminal.type(line, ENTER)
    terminal.wait_for(answer)
    terminal.wait_for(READY)


# ---- drawing ----


def draw(screen: Screen) -> str:
    """The screen as SVG, down to its last line with anything on it but a prompt."""
    lines = [line.rstrip() for line in screen.display]
    rows = max(row for row, line in enumerate(lines) if line not in ("", "$", ">")) + 1
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    body = "\n".join(part for row in range(rows) for part in _row(screen, row))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT_SIZE}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>\n{body}\n</svg>\n'
    )


def _row(screen: Screen, row: int) -> Iterator[str]:
    """Runs of cells that look alike."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    column = 0
    for cell, run in itertools.groupby(cells, key=_look):
        length = len(text := "".join(each.data for each in run))
        yield from _run(cell, text, MARGIN + column * CELL_WIDTH, MARGIN + row * CELL_HEIGHT)
        column += length


def _look(cell: Char) -> tuple[str, str, bool, bool]:
    """Colours of letter and ground, bold, half block."""
    front, back = (cell.bg, cell.fg) if cell.reverse else (cell.fg, cell.bg)
    return _colour(front), GROUND if back == "default" else _colour(back), cell.bold, cell.data == "▀"


def _run(look: tuple[str, str, bool, bool], text: str, x: float, y: float) -> Iterator[str]:
    front, back, bold, is_block = look
    width = len(text) * CELL_WIDTH
    if back != GROUND:
        yield _box(x, y, width, CELL_HEIGHT, back)
    if is_block:  # drawn and not written: no font's own idea of half a cell
        yield _box(x, y, width, CELL_HEIGHT / 2, front)
    elif stripped := text.strip():
        x += (len(text) - len(text.lstrip())) * CELL_WIDTH
        weight = ' font-weight="bold"' if bold else ""
        length = len(stripped) * CELL_WIDTH  # whatever the font's own width
        yield (
            f'<text x="{x:.1f}" y="{y + 0.74 * CELL_HEIGHT:.1f}" fill="{front}"{weight} textLength="{length:.1f}" '
            f'xml:space="preserve">{escape(stripped)}</text>'
        )


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}"'
    return f'<rect {place} fill="{colour}" shape-rendering="crispEdges"/>'


def _colour(name: str) -> str:
    return NAMED.get(name, f"#{name}")


if __name__ == "__main__":
    main()

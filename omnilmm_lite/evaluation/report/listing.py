"""The benchmarks, for people who haven't met them."""

from __future__ import annotations

from rich.table import Table

from omnilmm_lite.console import table_console
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Judge, Requirement

FOOT = (
    "from: its authors' repository on GitHub, which says where the files are; the TSV files: open-compass/VLMEvalKit. "
    "card: what OmniLMM-12B's model card says of the full model. "
    "time: `eval NAME --limit 20` says how many questions a minute are answered here; docs/eval.md has computed times."
)


def print_list() -> None:
    """Each one: what it needs, where that is had, how it is scored, what the card says."""
    console = table_console()
    for benchmark, requirement in REQUIREMENTS.items():
        table = Table.grid(padding=(0, 2))
        for name, text in _lines(requirement).items():
            table.add_row(f"  {name}", text)
        console.print(f"{benchmark.value}: {requirement.title}")
        console.print(table)
    console.print(FOOT)


def _lines(requirement: Requirement) -> dict[str, str]:
    rows = "" if requirement.rows in (None, requirement.questions) else f", in {requirement.rows} rows"
    judge = "; a judge has to read the answers" if requirement.judge is Judge.ALWAYS else ""
    return {
        "data": requirement.data,
        "from": f"{requirement.source}; licence: {requirement.licence}",
        "size": f"{requirement.questions} questions{rows}",
        "score": f"{requirement.score}{judge}",
        "card": requirement.card,
    }

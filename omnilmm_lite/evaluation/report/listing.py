"""The benchmarks, for people who haven't met them."""

from __future__ import annotations

from rich.table import Table

from omnilmm_lite.console import table_console
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark, Judge, Requirement
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.duration import SHAPES, Machine, seconds, shown

FOOT = (
    "from: a repository on GitHub where nothing else is said, which says where the files are; the TSV files: "
    "open-compass/VLMEvalKit. size: of the files as published. card: what OmniLMM-12B's model card says of the full "
    "model."
)
WITHOUT_BENCH = (
    "not measured: `omnilmm-lite bench --model MODEL --json > speed.json`, then `eval list --bench speed.json`"
)
JUDGES = {
    Judge.NEVER: "",
    Judge.OPTIONAL: "; a judge may read what rules can't",
    Judge.ALWAYS: "; a judge has to read the answers",
}
COMPUTED = (
    "time: of all questions, computed from those speeds; lengths of questions and answers are assumptions, which "
    "docs/eval.md has."
)


def print_list(machine: Machine | None) -> None:
    """Each one: what it needs, where that is had, how it is scored, what the card says, and how long it takes on
    `machine`; None where its speeds aren't known."""
    console = table_console()
    for benchmark, requirement in REQUIREMENTS.items():
        table = Table.grid(padding=(0, 2))
        for name, text in _lines(benchmark, requirement, machine).items():
            table.add_row(f"  {name}", text)
        console.print(f"{benchmark.value}: {requirement.title}")
        console.print(table)
    console.print(FOOT if machine is None else f"{FOOT} {COMPUTED}")


def _lines(benchmark: Benchmark, requirement: Requirement, machine: Machine | None) -> dict[str, str]:
    rows = "" if requirement.rows in (None, requirement.questions) else f", in {requirement.rows} rows"
    return {
        "data": requirement.data,
        "from": requirement.source,
        "size": f"{counted(requirement.questions, 'question')}{rows}; files: {requirement.size}",
        "licence": requirement.licence,
        "score": f"{requirement.score}{JUDGES[requirement.judge]}",
        "card": requirement.card,
        "time": WITHOUT_BENCH
        if machine is None
        else f"{shown(seconds(SHAPES[benchmark], machine))} with {machine.name}",
    }

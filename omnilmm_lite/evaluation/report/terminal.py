"""A report on the terminal."""

from __future__ import annotations

from rich.table import Table

from omnilmm_lite.console import table_console
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS
from omnilmm_lite.evaluation.report.markdown import figures
from omnilmm_lite.evaluation.report.published import COLUMNS, COMPARABLE
from omnilmm_lite.evaluation.report.texts import describe, remarks, verdict
from omnilmm_lite.evaluation.running.contents import Report


def print_report(report: Report) -> None:
    """A table of all figures, then what is to be said beside them; on stdout."""
    console = table_console()
    console.print(f"{report.model}: {describe(report)}")
    if report.results:
        table = Table("benchmark", "figure", "value", "error", "95 % interval", "over", "card", "unparsed")
        table.show_edge = False
        for column in table.columns[2:]:
            column.justify = "right"
        for result in report.results:
            is_card = result.benchmark in COMPARABLE or result.benchmark not in COLUMNS
            card = REQUIREMENTS[result.benchmark].card if is_card else ""
            for place, row in enumerate(figures(result)):
                *cells, unparsed = row
                table.add_row(*cells, "" if place else card, unparsed)
        console.print(table)
    for section in report.sections:
        for line in remarks(section):
            console.print(f"{section.session.benchmark.value}: {line}")
        if text := verdict(report, section):
            console.print(text)

"""The table of `omnilmm-lite bench --check`, on stdout."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from omnilmm_lite.bench.check_report import CheckReport
from omnilmm_lite.console import table_console
from omnilmm_lite.quality.report import number


def print_check(report: CheckReport) -> None:
    """The figures and what they say."""
    console = table_console()
    sides = [f"{side.name} (preset {side.preset}) on {side.device}" for side in (report.subject, report.base)]
    console.print(f"{sides[0]} ({report.subject.device_reason}), against {sides[1]}")
    table = Table("", "", show_edge=False, show_header=False)
    for row in _rows(report):
        table.add_row(*row)
    console.print(table)
    for line in _verdict(report):
        console.print(line)


def _rows(report: CheckReport) -> Iterator[tuple[str, str]]:
    if report.features_mean is not None:
        yield "picture features: cosine", f"mean {report.features_mean:.6f}, worst token {report.features_worst:.6f}"
    for name, summary in (("whole conversations", report.prompts), ("token by token", report.steps)):
        positions = f"{summary.positions:,} positions of {summary.sequences} conversations"
        yield f"{name}: same top token", f"{number(summary.top1_agreement, percent=True)} % of {positions}"
        yield f"{name}: mean KLD", f"{number(summary.kld_mean)}, largest {summary.kld_max:.3g}"
    equal = f"{report.answers_equal} of {len(report.answers_differ_at)} equal"
    differ = [str(place + 1) for place in report.answers_differ_at if place is not None]
    yield "greedy answers", f"{equal}; the others differ from token {', '.join(differ)}" if differ else equal


def _verdict(report: CheckReport) -> Iterator[str]:
    if report.is_exact:
        yield "exact: every feature and every logit is the same"
    elif not report.misses:
        yield "they agree, within what rounding explains"
    else:
        yield "THEY DIFFER by more than rounding explains:"
        yield from report.misses

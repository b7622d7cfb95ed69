"""The report as one HTML file that needs no network: figures, the card's plot, categories, answers to look at."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources

from omnilmm_lite.evaluation.benchmark import REQUIREMENTS
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.report.browser import MOST_SHOWN, Browser, Given, Seen, Shelf
from omnilmm_lite.evaluation.report.charts import bars, radar
from omnilmm_lite.evaluation.report.markdown import NOTHING, figures, headline
from omnilmm_lite.evaluation.report.published import COLUMNS, COMPARABLE, PUBLISHED, SOURCE
from omnilmm_lite.evaluation.report.texts import data_remarks, describe, remarks, verdict
from omnilmm_lite.evaluation.running.contents import Report, Section
from omnilmm_lite.evaluation.scoring.result import Result
from omnilmm_lite.quality.document import document, figure
from omnilmm_lite.version import __version__

LONGEST = 2000  # characters of a question or an answer
HEAD = ("benchmark", "figure", "value", "standard error", "95 % interval", "over", "unparsed")


def build_page(report: Report, browser: Browser) -> str:
    """The page as one HTML document. `browser` reads the pictures."""
    title = f"Benchmarks: {report.model}"
    style = resources.files("omnilmm_lite.evaluation.report").joinpath("page.css").read_text(encoding="utf-8")
    parts = [f"<header><h1>{escape(title)}</h1><p>{escape(describe(report))}</p></header>", _figures(report.results)]
    if any(each.benchmark in COLUMNS for each in report.results):
        plot, legend = radar(report.model, report.results)
        parts.append(figure("Beside the model card", legend, plot, _radar_text(report)))
        parts.append(_beside_published(report))
    parts += [_section(report, section, browser) for section in report.sections]
    parts.append(f"<footer>omnilmm-lite {escape(__version__)}</footer>")
    return document(title, "\n".join(parts), pictures=True, style=style)


def _figures(results: Iterable[Result]) -> str:
    rows = "\n".join(_row(row) for result in results for row in figures(result))
    return f"<section><h2>Figures</h2>{_table('scores', HEAD, rows)}</section>" if rows else ""


def _beside_published(report: Report) -> str:
    mine = {result.benchmark: result for result in report.results}
    rows = [
        _row(
            (
                each.name,
                *(
                    " / ".join(map(str, each.figures[column])) if column in each.figures else NOTHING
                    for column in COLUMNS
                ),
                each.short_source,
            )
        )
        for each in PUBLISHED
    ]
    own = (
        report.model,
        *(headline(mine.get(column)) if column in COMPARABLE else NOTHING for column in COLUMNS),
        "this run",
    )
    rows.append(_row(own, 'class="own"'))
    head = ("model", *(REQUIREMENTS[column].title for column in COLUMNS), "source")
    note = f'<p class="note">Published: {escape(SOURCE)}.</p>'
    return f"<section><h2>Published figures</h2>{_table('published', head, chr(10).join(rows))}{note}</section>"


def _radar_text(report: Report) -> str:
    odd = report.part or any(each.session.problems or each.scored.unanswered for each in report.sections)
    part = " This run's questions aren't exactly the published ones, so its figures aren't comparable." if odd else ""
    others = {each.benchmark for each in report.results} & {*COLUMNS} - COMPARABLE
    names = " and ".join(REQUIREMENTS[column].title for column in COLUMNS if column in others)
    verbs = ("isn't", "is") if len(others) == 1 else ("aren't", "are")
    left_out = f" This run's {names} {verbs[0]} comparable with them and {verbs[1]} left out." if others else ""
    return (
        "The centre is 0, and each axis ends at the best figure on it, which stands below its name; of two figures "
        f"the first. Published figures: the model card's.{left_out}{part}"
    )


def _section(report: Report, section: Section, browser: Browser) -> str:
    result = section.result
    parts = [f"<section><h2>{escape(REQUIREMENTS[section.session.benchmark].title)}</h2>"]
    if text := verdict(report, section):
        parts.append(f'<p class="verdict">{escape(text)}</p>')
    if result is not None and result.categories:
        parts.append(bars(result))
    notes = [*remarks(section), *data_remarks(section), *(() if result is None else result.notes)]
    if notes:
        parts.append(f'<ul class="remarks">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>')
    if section.comparison is not None:
        flips = browser.flips((report.base or "", report.model), section)
        parts.append(_shelf(flips, "answer on which the two models differ", "answers on which the two models differ"))
    if result is not None:
        parts.append(_shelf(browser.wrong(report.model, section.scored), "wrong answer", "wrong answers"))
    return "".join(parts) + "</section>"


def _shelf(shelf: Shelf, *names: str) -> str:
    """`names`: what one is called, and several."""
    if not shelf.total:
        return f'<p class="note">No {escape(names[-1])}.</p>'
    shown = f", the first {MOST_SHOWN} shown" if shelf.total > MOST_SHOWN else ""
    seen = "\n".join(map(_seen, shelf.seen))
    return f"<details><summary>{escape(counted(shelf.total, *names))}{shown}</summary>\n{seen}</details>"


def _seen(seen: Seen) -> str:
    name = f"Picture of question {seen.index}"
    picture = f'<img src="{seen.picture}" alt="{escape(name)}">' if seen.picture else "<small>no picture</small>"
    right = "" if seen.right is None else f"<p><small>right</small> {_text(seen.right)}</p>"
    answers = "".join(map(_given, seen.answers))
    return (
        f'<div class="seen"><div>{picture}</div><div><p><small>{escape(seen.index)}</small></p>'
        f"<p>{_text(seen.prompt)}</p>{right}{answers}</div></div>"
    )


def _given(given: Given) -> str:
    read = "nothing read" if given.extracted is None else f"read as {given.extracted}"
    return f"<p><small>{escape(given.model)}, {_text(read)}:</small> {_text(given.text)}</p>"


def _text(text: str) -> str:
    return escape(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")


def _table(kind: str, head: Iterable[str], rows: str) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    table = f'<table class="{kind}"><thead><tr>{cells}</tr></thead>\n<tbody>{rows}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _row(cells: Iterable[str], attributes: str = "") -> str:
    first, *others = cells
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in others)
    return f'<tr {attributes}><th scope="row">{escape(first)}</th>{rest}</tr>'.replace("<tr >", "<tr>")

"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from omnilmm_lite.evaluation.benchmark import REQUIREMENTS
from omnilmm_lite.evaluation.comparison import Comparison
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.report.published import COLUMNS, COMPARABLE, PUBLISHED, SOURCE, TWO_FIGURES
from omnilmm_lite.evaluation.scoring.result import Result, Score
from omnilmm_lite.evaluation.statistics import LEVEL

NOTHING = "-"
TWO_DECIMALS = frozenset({"mean rating"})


def as_markdown(model: str, results: Sequence[Result], comparisons: Sequence[Comparison] = ()) -> str:
    """A page: all figures, the published ones beside them, categories, notes."""
    lines = [f"# Benchmarks: {escaped(model)}", "", *_figures(results), "", *_beside_published(model, results)]
    for each in comparisons:
        lines += ["", f"{REQUIREMENTS[each.benchmark].title}, against the other model: {each.verdict}"]
    for result in results:
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def _figures(results: Iterable[Result]) -> Iterator[str]:
    yield from _header(
        "benchmark", "figure", "value", "standard error", f"{100 * LEVEL:.0f} % interval", "over", "unparsed"
    )
    for result in results:
        yield from (_row(*row) for row in figures(result))


def figures(result: Result) -> Iterator[tuple[str, ...]]:
    """A row a figure: benchmark, figure, value, standard error, interval, count, unparsed; texts."""
    for place, score in enumerate(result.scores):
        first = (REQUIREMENTS[result.benchmark].title, f"{result.unparsed} of {len(result.verdicts)}")
        title, unparsed = first if not place else ("", "")
        yield title, score.name, *_numbers(score), str(score.count), unparsed


def _beside_published(model: str, results: Sequence[Result]) -> Iterator[str]:
    mine = {result.benchmark: result for result in results}
    yield from _header("model", *(REQUIREMENTS[each].title for each in COLUMNS), "source")
    for published in PUBLISHED:
        figures = (published.figures.get(each) for each in COLUMNS)
        yield _row(
            published.name,
            *(" / ".join(map(str, each)) if each else NOTHING for each in figures),
            published.short_source,
        )
    yield _row(model, *(headline(mine.get(each)) if each in COMPARABLE else NOTHING for each in COLUMNS), "this run")
    yield ""
    yield f"Published: {SOURCE}."


def headline(result: Result | None) -> str:
    """The figures that the card prints."""
    if result is None:
        return NOTHING
    count = 2 if result.benchmark in TWO_FIGURES else 1
    return " / ".join(_number(score, score.value) for score in result.scores[:count])


def _section(result: Result) -> Iterator[str]:
    yield f"## {REQUIREMENTS[result.benchmark].title}"
    yield ""
    yield f"Profile {result.profile}. {counted(len(result.verdicts), 'answer')}, {result.unparsed} unparsed."
    if result.categories:
        yield ""
        yield from _header("category", "value", "standard error", f"{100 * LEVEL:.0f} % interval", "over")
        for score in result.categories:
            yield _row(score.name, *_numbers(score), str(score.count))
    if result.notes:
        yield ""
        yield from (f"* {escaped(note)}" for note in result.notes)


def _numbers(score: Score) -> tuple[str, str, str]:
    """Value, standard error, interval."""
    value, interval = _number(score, score.value) if score.count else NOTHING, score.interval
    if interval is None:
        return value, NOTHING, NOTHING
    between = f"{_number(score, interval.low)} to {_number(score, interval.high)}"
    return value, NOTHING if interval.error is None else _number(score, interval.error), between


def _number(score: Score, value: float) -> str:
    return f"{value:.2f}" if score.name in TWO_DECIMALS else f"{value:.1f}"


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(escaped, cells)) + " |"


def escaped(text: str) -> str:
    """One line, without what Markdown or a browser would read as markup."""
    flat = " ".join(text.split())
    for sign in "\\|<>*_`[]":
        flat = flat.replace(sign, f"\\{sign}")
    return flat

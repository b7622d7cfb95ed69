"""The report as one HTML file that needs no network: figures, table, charts, and what the numbers mean."""

from __future__ import annotations

from html import escape

from omnilmm_lite.quality.charts import Figure, figures
from omnilmm_lite.quality.document import document, figure
from omnilmm_lite.quality.measure import Measurement
from omnilmm_lite.quality.report import ERRORS, Difference, Report, describe, number, rows, unexpected_text
from omnilmm_lite.quality.statistics import Summary
from omnilmm_lite.quality.svg import dots
from omnilmm_lite.quality.verdict import DEFINITION
from omnilmm_lite.version import __version__


def build_page(measurement: Measurement) -> str:
    """The page as one HTML document."""
    report = measurement.report
    title = f"{report.model} against {report.base}"
    charts = figures(report, measurement.comparison, measurement.quantization)
    body = "\n".join([
        f"<header><h1>{escape(title)}</h1><p>{escape(describe(report.data))}; on {escape(report.device)}</p></header>",
        _verdict(report),
        _tiles(report),
        _table(report),
        *map(_figure, charts),
        _differences(report),
        f"<footer>omnilmm-lite {escape(__version__)}</footer>",
    ])  # fmt: skip
    return document(title, body)


def _verdict(report: Report) -> str:
    """In plain words, and as 100 dots, of which as many are full as answers differ."""
    verdict = report.verdict
    if verdict is None:
        agreement = 100 * report.summaries[report.main_kind].top1_agreement.value
        text = (
            f"In {agreement:.3g} of 100 places the two expect the same next token. In how many answers you would "
            "notice a difference can't be said: the data has no answers."
        )
        return f'<section class="verdict"><p>{text}</p></section>'
    return (
        f'<section class="verdict"><h2>{escape(verdict.headline)}</h2>{dots(verdict.of_100)}'
        f'<p>{escape(verdict.explanation)}</p><p class="note">{escape(DEFINITION)}.</p></section>'
    )


def _tiles(report: Report) -> str:
    """The four figures to look at first."""
    kind = report.main_kind
    summary: Summary = report.summaries[kind]
    tiles = {
        "mean KL divergence": number(summary.kld_mean),
        "perplexity ratio": number(summary.perplexity_ratio),
        "same top token (%)": number(summary.top1_agreement, percent=True),
        "change of the true token's p (RMS, %)": number(summary.delta_p_rms, percent=True),
    }
    cells = "".join(f"<div><b>{_with_error(value)}</b><span>{name}</span></div>" for name, value in tiles.items())
    return f'<section><h2>On {kind} positions</h2><div class="tiles">{cells}</div></section>'


def _with_error(text: str) -> str:
    value, sign, error = escape(text).partition(" ± ")
    return f"{value} <small>± {error}</small>" if sign else value


def _table(report: Report) -> str:
    """On a phone each row becomes a block, in which every cell says its kind."""
    head = "".join(f'<th scope="col">{escape(kind)}</th>' for kind in report.summaries)
    body = "".join(
        f'<tr><th scope="row">{escape(row.label)}<small>{escape(row.meaning)}</small></th>'
        + "".join(
            f'<td data-label="{escape(kind)}">{_with_error(cell)}</td>'
            for kind, cell in zip(report.summaries, row.cells, strict=True)
        )
        + "</tr>\n"
        for row in rows(report)
    )
    note = f"{unexpected_text(report)} {ERRORS}. KLD is in nats.".lstrip()
    return (
        f'<section><h2>Figures</h2><div class="scroll"><table class="figures"><thead><tr><td></td>{head}</tr></thead>\n'
        f'<tbody>{body}</tbody></table></div><p class="note">{escape(note)}</p></section>'
    )


def _figure(drawn: Figure) -> str:
    svg = f'<div class="whole-width">{drawn.svg}</div><div class="phone-width">{drawn.narrow}</div>'
    return figure(drawn.title, drawn.legend, svg, drawn.text)


def _differences(report: Report) -> str:
    title = f"<h2>Largest differences on {report.main_kind} positions</h2>"
    if not report.largest_differences:
        return f"<section>{title}<p>None: the two are the same everywhere.</p></section>"
    columns = ("after", "true token", f"{report.base} expects", f"{report.model} expects", "true token's p", "KLD")
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(_difference(found, columns) for found in report.largest_differences)
    return (
        f'<section>{title}<div class="scroll"><table class="differences"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _difference(found: Difference, columns: tuple[str, ...]) -> str:
    where = found.kind if found.picture is None else f"{found.kind}, {found.picture}"
    codes = [f"<code>{escape(token)}</code>" for token in (found.token, found.base_top, found.model_top)]
    after = f"… {escape(found.context)}<small>{escape(where)}</small>"
    cells = [after, *codes, f"{found.p_base:.3g} → {found.p:.3g}", f"{found.kld:.3g}"]
    row = "".join(f'<td data-label="{escape(column)}">{cell}</td>' for column, cell in zip(columns, cells, strict=True))
    return f"<tr>{row}</tr>"

"""The report as one HTML file that needs no network: figures, table, charts, and what the numbers mean."""

from __future__ import annotations

from html import escape

from omnilmm_lite import __version__
from omnilmm_lite.quality.charts import Figure, figures
from omnilmm_lite.quality.document import document, figure
from omnilmm_lite.quality.measure import Measurement
from omnilmm_lite.quality.report import ERRORS, Difference, Report, describe, number, rows
from omnilmm_lite.quality.statistics import Summary


def build_page(measurement: Measurement) -> str:
    """The page as one HTML document."""
    report = measurement.report
    title = f"{report.model} against {report.base}"
    charts = figures(report, measurement.comparison, measurement.quantization)
    body = "\n".join([
        f"<header><h1>{escape(title)}</h1><p>{escape(describe(report.data))}; on {escape(report.device)}</p></header>",
        _tiles(report),
        _table(report),
        *map(_figure, charts),
        _differences(report),
        f"<footer>omnilmm-lite {escape(__version__)}</footer>",
    ])  # fmt: skip
    return document(title, body)


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
    head = "".join(f'<th scope="col">{escape(kind)}</th>' for kind in report.summaries)
    body = "".join(
        f'<tr><th scope="row">{escape(row.label)}<small>{escape(row.meaning)}</small></th>'
        + "".join(f"<td>{_with_error(cell)}</td>" for cell in row.cells)
        + "</tr>\n"
        for row in rows(report)
    )
    return (
        f'<section><h2>Figures</h2><div class="scroll"><table class="figures"><thead><tr><td></td>{head}</tr></thead>\n'
        f'<tbody>{body}</tbody></table></div><p class="note">{escape(ERRORS)}. KLD is in nats.</p></section>'
    )


def _figure(drawn: Figure) -> str:
    return figure(drawn.title, drawn.legend, drawn.svg, drawn.text)


def _differences(report: Report) -> str:
    title = f"<h2>Largest differences on {report.main_kind} positions</h2>"
    if not report.largest_differences:
        return f"<section>{title}<p>None: the two are the same everywhere.</p></section>"
    body = "\n".join(map(_difference, report.largest_differences))
    return (
        f'<section>{title}<div class="scroll"><table class="differences"><thead><tr>'
        '<th scope="col">after</th><th scope="col">true token</th>'
        f'<th scope="col">{escape(report.base)} expects</th><th scope="col">{escape(report.model)} expects</th>'
        '<th scope="col">true token\'s p</th><th scope="col">KLD</th></tr></thead>\n'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _difference(found: Difference) -> str:
    where = found.kind if found.picture is None else f"{found.kind}, {found.picture}"
    tokens = (found.token, found.base_top, found.model_top)
    codes = "".join(f"<td><code>{escape(token)}</code></td>" for token in tokens)
    return (
        f"<tr><td>… {escape(found.context)}<small>{escape(where)}</small></td>{codes}"
        f"<td>{found.p_base:.3g} → {found.p:.3g}</td><td>{found.kld:.3g}</td></tr>"
    )

"""What a comparison found: figures by kind of position, the largest differences, and the table of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.console import table_console
from omnilmm_lite.quality.compare import Comparison
from omnilmm_lite.quality.data import Kind
from omnilmm_lite.quality.statistics import RESAMPLES, Estimate, Summary, summarize
from omnilmm_lite.quality.verdict import Verdict, verdict_of
from omnilmm_lite.text.tokenizer import Tokenizer

UNEXPECTED = 1000  # perplexity: a text that a model was trained on has tens
LARGEST = 1e9  # written out
ALL = "all"
KIND_NAMES = {Kind.ANSWER: "answer", Kind.AFTER_PICTURE: "after picture", Kind.TEXT: "text"}
ERRORS = (
    f"± is one standard deviation: of means the standard error over sequences, of percentiles {RESAMPLES} bootstrap "
    "resamples of whole sequences"
)
WORST = 10
CONTEXT_TOKENS = 16  # shown before a position


@dataclass(frozen=True)
class DataFacts:
    """What was compared on. Counts are of sequences."""

    source: str
    sequences: int
    with_picture: int
    with_answer: int
    answers_written_by: str | None


@dataclass(frozen=True)
class Difference:
    """One position, in words; p are probabilities of the true next token."""

    picture: str | None
    context: str
    token: str
    base_top: str
    model_top: str
    p_base: float
    p: float
    kld: float
    kind: str


@dataclass(frozen=True)
class Report:
    """`base` is the model that `model` was held against. `summaries` has only kinds that occur, and `all`; `verdict` is
    None where the data has no answers.

    The largest differences are those at positions of the main kind.
    """

    model: str
    base: str
    device: str
    data: DataFacts
    verdict: Verdict | None
    summaries: dict[str, Summary]
    largest_differences: tuple[Difference, ...]

    @property
    def main_kind(self) -> str:
        """The kind whose figures matter most: answers, where there are any."""
        return next(iter(self.summaries))

    def to_json(self) -> str:
        """One object on one line; shares and probabilities from 0 to 1, divergences in nats."""
        found = {**dataclasses.asdict(self), "errors": ERRORS}
        if self.verdict is not None:
            found["verdict"] |= {"headline": self.verdict.headline, "explanation": self.verdict.explanation}
        return json.dumps(found, ensure_ascii=False)


@dataclass(frozen=True)
class Row:
    """One figure of the table."""

    label: str
    meaning: str
    cells: tuple[str, ...]  # a summary each


def build_report(
    comparison: Comparison, model: str, base: str, device: str, data: DataFacts, tokenizer: Tokenizer,
    config: OmniLMMConfig,
) -> Report:  # fmt: skip
    """What a comparison adds up to."""
    scores, sequences = comparison.scores, comparison.sequences
    summaries = {}
    for kind, name in KIND_NAMES.items():
        which = comparison.kinds == kind
        if which.any():
            summaries[name] = summarize(scores[which], sequences[which])
    summaries[ALL] = summarize(scores, sequences)
    main = np.flatnonzero(comparison.kinds == next(kind for kind in KIND_NAMES if (comparison.kinds == kind).any()))
    largest = main[np.argsort(-scores.kld[main], kind="stable")][:WORST]
    return Report(
        model, base, device, data, verdict_of(comparison), summaries,
        tuple(_difference(comparison, int(i), tokenizer, config) for i in largest if scores.kld[i] > 0),
    )  # fmt: skip


def _difference(comparison: Comparison, index: int, tokenizer: Tokenizer, config: OmniLMMConfig) -> Difference:
    scores = comparison.scores
    sample = comparison.samples[comparison.sequences[index]]
    end = int(comparison.rows[index]) + 1  # of the context

    def text(token: int) -> str:
        if token == config.tokens.eos:
            return "(end)"
        piece = tokenizer.token_bytes(token).decode("utf-8", errors="replace")
        return piece.replace("\n", "(new line)") or f"(token {token})"

    return Difference(
        picture=sample.picture_name,
        context=tokenizer.decode(sample.ids[max(0, end - CONTEXT_TOKENS) : end]),
        token=text(sample.ids[end]),
        base_top=text(int(scores.top_base[index])),
        model_top=text(int(scores.top[index])),
        p_base=float(np.exp(scores.log_p_base[index])),
        p=float(np.exp(scores.log_p[index])),
        kld=float(scores.kld[index]),
        kind=KIND_NAMES[Kind(comparison.kinds[index])],
    )


def rows(report: Report) -> list[Row]:
    """The table's rows, for the terminal and the page alike."""
    summaries = report.summaries.values()

    def row(label: str, meaning: str, cell: Callable[[Summary], str]) -> Row:
        return Row(label, meaning, tuple(map(cell, summaries)))

    def kld(name: str) -> Callable[[Summary], str]:
        return lambda summary: _percentile(summary, summary.kld_percentiles, name)

    def delta_p(name: str) -> Callable[[Summary], str]:
        return lambda summary: _percentile(summary, summary.delta_p_percentiles, name, percent=True)

    return [
        row("positions", "next tokens that were predicted", lambda s: f"{s.positions:,}"),
        row("sequences", "sequences that they stand in", lambda s: f"{s.sequences:,}"),
        row(f"perplexity, {report.base}", "how surprised the original is by the text; lower is better",
            lambda s: number(s.perplexity_base)),
        row(f"perplexity, {report.model}", "the same for the compared model", lambda s: number(s.perplexity)),
        row("perplexity ratio", "of the two; 1 is no loss", lambda s: number(s.perplexity_ratio)),
        row("mean KLD", "Kullback-Leibler divergence from the original's distribution, in nats; 0 is no difference",
            lambda s: number(s.kld_mean)),
        row("median KLD", "half of all positions have less", kld("50")),
        row("99 % KLD", "1 position in 100 has more", kld("99")),
        row("99.9 % KLD", "1 position in 1,000 has more", kld("99.9")),
        row("largest KLD", "the worst position", lambda s: number(Estimate(s.kld_max, None))),
        row("same top token (%)", "positions where both find the same token likeliest, which greedy answers hang on",
            lambda s: number(s.top1_agreement, percent=True)),
        row("mean Δp (%)", "change of the true token's probability; below 0 the model got worse at the text",
            lambda s: number(s.delta_p_mean, percent=True)),
        row("RMS Δp (%)", "typical size of that change", lambda s: number(s.delta_p_rms, percent=True)),
        row("1 % Δp (%)", "1 position in 100 loses more than this", delta_p("1")),
        row("median Δp (%)", "half lose more than this, or gain less", delta_p("50")),
        row("99 % Δp (%)", "1 position in 100 gains more than this", delta_p("99")),
    ]  # fmt: skip


def _percentile(summary: Summary, percentiles: dict[str, Estimate], name: str, *, percent: bool = False) -> str:
    """A dash where there are too few positions for one to lie beyond it."""
    beyond = min(float(name), 100 - float(name)) / 100
    return number(percentiles[name], percent=percent) if summary.positions * beyond >= 1 else "-"


def print_report(report: Report) -> None:
    """The table, on stdout."""
    console = table_console()
    console.print(f"{report.model} ({report.device}) against {report.base}, on {describe(report.data)}")
    if report.verdict is not None:
        console.print(f"{report.verdict.headline} {report.verdict.explanation}")
    table = Table("", *report.summaries, show_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows(report):
        table.add_row(row.label, *row.cells)
    console.print(table)
    if note := unexpected_text(report):
        console.print(note)
    console.print(ERRORS)


def unexpected_text(report: Report) -> str:
    """What a very large perplexity means, in a sentence; empty where there is none."""
    found = {kind: each.perplexity_base.value for kind, each in report.summaries.items()}
    kinds = [kind for kind, value in found.items() if value >= UNEXPECTED]
    if not kinds:
        return ""
    return (
        f"A perplexity of {UNEXPECTED:,} or more ({', '.join(kinds)}): {report.base} was never trained to write such "
        "text, so this figure is no measure of it. The ratio and the divergences still compare the two."
    )


def describe(data: DataFacts) -> str:
    """The data in a phrase."""
    text = f"{data.source}: {data.sequences} sequences, {data.with_picture} with a picture, {data.with_answer} answered"
    return text if data.answers_written_by is None else f"{text} (open questions by {data.answers_written_by})"


def number(estimate: Estimate, *, percent: bool = False) -> str:
    """Value and error, both to the error's second digit; as a percentage without its sign, if asked for."""
    scale = 100.0 if percent else 1.0
    value, error = scale * estimate.value, scale * (estimate.error or 0.0)
    if not error or not math.isfinite(error):
        return f"{value:,.0f}" if 1e4 <= abs(value) < LARGEST else f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if abs(value) >= LARGEST or (abs(value) < 1e-3 and digits > 5):
        return f"{value:.1e} ± {error:.0e}"
    if error >= 100:
        digits = 1 - math.floor(math.log10(error))
        return f"{round(value, digits):,.0f} ± {round(error, digits):,.0f}"
    return f"{value:,.{digits}f} ± {error:,.{digits}f}"

"""The report's files: JSON, Markdown and the page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from omnilmm_lite.evaluation.report.browser import Browser
from omnilmm_lite.evaluation.report.json_report import as_json
from omnilmm_lite.evaluation.report.markdown import as_markdown, escaped
from omnilmm_lite.evaluation.report.page import build_page
from omnilmm_lite.evaluation.report.texts import data_remarks, describe, remarks, verdict
from omnilmm_lite.evaluation.running.contents import Report, Section
from omnilmm_lite.evaluation.running.scored import Scored
from omnilmm_lite.files import durable_file

JSON, MARKDOWN, PAGE = "report.json", "report.md", "report.html"


def write_files(report: Report, folder: Path) -> None:
    """Each whole or not at all."""
    text = json.dumps(json_of(report), indent=1, ensure_ascii=False)
    durable_file.write_text(folder / JSON, text + "\n")
    durable_file.write_text(folder / MARKDOWN, markdown_of(report))
    with contextlib.closing(Browser()) as browser:
        durable_file.write_text(folder / PAGE, build_page(report, browser))


def json_of(report: Report) -> dict[str, Any]:
    """Plain values, in an order that depends on nothing but the report."""
    return {
        **as_json(report.model, report.results, report.comparisons),
        "against": report.base,
        "profile": report.profile.value,
        "part": report.part or "all",
        "decoding": dataclasses.asdict(report.decoding),
        "benchmarks": [_facts(section) for section in report.sections],
    }


def markdown_of(report: Report) -> str:
    """The tables, then a list of remarks."""
    lines = [f"* {escaped(describe(report))}"]
    for section in report.sections:
        name = section.session.benchmark.value
        lines += [f"* {name}: {escaped(line)}" for line in (*remarks(section), *data_remarks(section))]
        if text := verdict(report, section):
            lines.append(f"* {escaped(text)}")
    page = as_markdown(report.model, report.results) if report.results else f"# Benchmarks: {escaped(report.model)}\n"
    return page + "\n## The run\n\n" + "\n".join(lines) + "\n"


def _scores(scored: Scored | None) -> dict[str, float] | None:
    """By name."""
    return None if scored is None or scored.result is None else {each.name: each.value for each in scored.result.scores}


def _facts(section: Section) -> dict[str, Any]:
    scored = section.scored
    return {
        "benchmark": section.session.benchmark.value,
        "data": section.session.path.name,
        "questions": len(scored.questions),
        "answers": len(scored.predictions),
        "unanswered": [each.item.index for each in scored.unanswered],
        "not_scored": scored.reason or None,
        "problems": [str(each) for each in section.session.problems],
        "against_scores": _scores(section.base),
        "judge_tokens": None if section.tokens is None else list(section.tokens),
    }

"""What every form of a report says in words."""

from __future__ import annotations

from collections.abc import Iterator

from omnilmm_lite.evaluation.benchmark import REQUIREMENTS
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.running.contents import Report, Section
from omnilmm_lite.evaluation.running.session import some_problems

NAMED = 5  # questions, in a line


def describe(report: Report) -> str:
    """How it was asked, in a phrase."""
    params = report.decoding
    how = "greedy" if params.is_greedy else f"temperature {params.temperature:g}, seed {params.seed}"
    part = f"; {report.part} alone" if report.part else ""
    return (
        f"profile {report.profile}; {how}, repetition penalty {params.repetition_penalty:g}, "
        f"{params.max_new_tokens} new tokens at most{part}"
    )


def remarks(section: Section) -> Iterator[str]:
    """What a reader has to know beside the figures: what wasn't scored or asked, and what a judge took."""
    scored = section.scored
    if scored.result is None:
        yield f"not scored: {scored.reason}; {counted(len(scored.predictions), 'answer is', 'answers are')} kept"
    if scored.unanswered:
        names = ", ".join(each.item.index for each in scored.unanswered[:NAMED])
        more = f" and {len(scored.unanswered) - NAMED} more" if len(scored.unanswered) > NAMED else ""
        one, several = (
            "question has no answer and counts in no figure",
            "questions have no answer and count in no figure",
        )
        yield f"{counted(len(scored.unanswered), one, several)}: {names}{more}"
    if section.tokens is not None:
        yield f"the judge's tokens: {section.tokens[0]} asked, {section.tokens[1]} replied"


def data_remarks(section: Section) -> list[str]:
    """What isn't right about the data."""
    return [f"data: {line}" for line in some_problems(section.session.problems)]


def verdict(report: Report, section: Section) -> str:
    """On the comparison, in one sentence that names both models; empty where there is none."""
    if section.comparison is None:
        return ""
    title = REQUIREMENTS[section.session.benchmark].title
    return f"{title}, {report.model} (the second model) against {report.base}: {section.comparison.verdict}"

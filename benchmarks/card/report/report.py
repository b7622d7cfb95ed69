"""The report: a section that can be put into docs/gpu.md as it is, and the same as JSON."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.card.report.goals import Goal, Verdict, judge
from benchmarks.card.report.tables import RENDERERS, table
from benchmarks.card.result import Result
from benchmarks.card.run import Json
from benchmarks.card.stage import STAGES

COLUMNS = 120
WITHOUT_CARD = (
    "No card was used: every time and size below is this processor's, at "
    "{size} size, and says nothing of any card. It shows that the stages run."
)


def wrapped(line: str) -> str:
    """The line, in several where it is too long; a table's row stays one."""
    if line.startswith("|"):
        return line
    indent = "  " if line.startswith("* ") else ""
    return textwrap.fill(line, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True)
class Report:
    """`results`: by stage, those that count or failed. `skipped`: by stage, why it wasn't run."""

    made_with: Mapping[str, str]
    results: Mapping[str, Result]
    skipped: Mapping[str, str]

    @property
    def goals(self) -> list[Goal]:
        return judge(self.results, self.made_with)

    @property
    def failures(self) -> dict[str, str]:
        return {name: each.failure for name, each in self.results.items() if each.failure is not None}

    @property
    def is_wrong(self) -> bool:
        """Whether a stage failed, or something was computed wrong; slow or large is neither."""
        return bool(self.failures) or any(each.is_right and each.verdict is Verdict.MISSED for each in self.goals)

    @property
    def on_card(self) -> bool:
        return self.made_with["device"] == "cuda"

    def markdown(self) -> str:
        """Lines of 120 columns at most, but for tables."""
        text = "\n".join(map(wrapped, self._lines()))
        return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"

    def to_dict(self) -> Json:
        return {
            "made_with": dict(self.made_with),
            "goals": [dataclasses.asdict(goal) | {"verdict": goal.verdict.value} for goal in self.goals],
            "skipped": dict(self.skipped),
            "results": {name: dataclasses.asdict(each) for name, each in self.results.items()},
        }

    def _lines(self) -> Iterator[str]:
        dates = sorted(each.at for each in self.results.values())
        when = f", {dates[0][:10]}" if dates else ""
        yield (
            f"## Measured on {self.made_with['card'].partition(',')[0]}{when}"
            if self.on_card
            else (f"## The card's stages, tried on the CPU{when}")
        )
        yield ""
        if not self.on_card:
            yield WITHOUT_CARD.format(size=self.made_with["size"])
            yield ""
        rows = list(self.made_with.items())
        if dates:
            rows.append(("measured, UTC", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"))
        yield from table(("what", "which"), rows)
        yield from self._verdicts()
        yield from self._missing()
        for stage in STAGES:
            result = self.results.get(stage.name)
            if result is None:
                continue
            yield f"### {stage.title}"
            yield ""
            if result.failure is not None:
                yield f"Not finished, after {result.seconds:.0f} s: {result.failure}"
                yield ""
            yield from RENDERERS[stage.name](result.data)

    def _verdicts(self) -> Iterator[str]:
        goals = self.goals
        if not goals:
            return
        yield "### What was met and what was missed"
        yield ""
        rows = [(goal.what, goal.wanted, goal.found, goal.verdict.value) for goal in goals]
        yield from table(("goal", "wanted", "found", "verdict"), rows)

    def _missing(self) -> Iterator[str]:
        reasons = {**self.skipped, **self.failures}
        if not reasons:
            return
        yield "### What was not run, or not to its end"
        yield ""
        for name, reason in reasons.items():
            yield f"* {name}: {reason}"
        yield ""

"""`omnilmm-lite quality`: from two models and some data to a report and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.model import Model
from omnilmm_lite.progress import Progress
from omnilmm_lite.quality.compare import Comparison, compare
from omnilmm_lite.quality.compared_model import ComparedBundle, ComparedModel, check_comparable
from omnilmm_lite.quality.data import build_samples
from omnilmm_lite.quality.report import DataFacts, Report, build_report
from omnilmm_lite.text.conversations import Conversation


@dataclass(frozen=True)
class Measurement:
    report: Report
    comparison: Comparison
    quantization: Mapping[str, Any] | None  # the conversion's own report, from the manifest


def measure(
    model: Model,
    base: ComparedModel,
    data: list[Conversation] | str,
    source: Path | None,
    samples: int,
    progress: Progress,
) -> Measurement:
    """Compares a loaded bundle with `base`, which answers open questions if it is a bundle itself.

    `data`: what `read_data` gave for `source`; at most `samples` sequences of it. InputError where the two are not
    forms of one model.
    """
    subject = ComparedBundle(model)
    check_comparable(subject, base)
    chosen = build_samples(data, base.tokenizer, base.config, samples)
    writer = None
    if isinstance(base, ComparedBundle) and any(sample.is_unanswered for sample in chosen):
        chosen = base.write_answers(chosen, progress)
        writer = base.name
    comparison = compare(subject, base, chosen, progress)
    facts = DataFacts(
        source="built-in conversations" if source is None else source.name or str(source),
        sequences=len(chosen),
        with_picture=sum(sample.image is not None for sample in chosen),
        with_answer=sum(sample.answer_start is not None and not sample.is_unanswered for sample in chosen),
        answers_written_by=writer,
    )
    device = str(model.device.placement)
    original = base.name if base.name != subject.name else f"{base.name} (original)"
    report = build_report(comparison, subject.name, original, device, facts, base.tokenizer, base.config)
    return Measurement(report, comparison, model.parts.quantization)

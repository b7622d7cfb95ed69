"""Steps of one answer and of several at once, in turns; and how long the last to come waits for its first token."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnilmm_lite.answer.batch import AnswerBatch, Ended
from omnilmm_lite.answer.generation import Answer, Prompt, TextModel
from omnilmm_lite.answer.slots import Slots
from omnilmm_lite.bench.footprint import Footprint
from omnilmm_lite.bench.series import Series, seconds
from omnilmm_lite.bench.workload import token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.engine.decoder import SlotStep
from omnilmm_lite.engine.versions import versions
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.description import Machine
from omnilmm_lite.model import BundleModel, load
from omnilmm_lite.plan.memory import make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.workspace import tower_workspace
from omnilmm_lite.progress import Progress
from omnilmm_lite.sampling_params import SamplingParams

NEWCOMER_TOKENS = 64  # of its prompt: a question about a picture that is known
STEPS = 6  # in a row, of which the first one doesn't count
STALL_S = 1.0


@dataclass(frozen=True)
class Parallel:
    """`step`: seconds of one token for each of `answers`. `newcomer`: seconds to the first token of an answer that
    joins when `answers` - 1 are running."""

    answers: int
    step: Series
    newcomer: Series

    @property
    def tokens_per_s(self) -> float:
        """Of all together."""
        return self.answers / self.step.median

    def gain(self, one: Parallel) -> float:
        """All together, as a multiple of what `one` alone gives."""
        return self.tokens_per_s / one.tokens_per_s


@dataclass(frozen=True)
class ParallelResult:
    model: str
    device: str
    machine: Machine
    threads: int | None
    context: int  # tokens that each slot has room for
    held: int  # tokens in each one's cache
    rows: tuple[Parallel, ...]  # the first is of one answer
    resident: int | None  # bytes, with all slots filled; None where the system doesn't tell
    planned: int | None  # bytes that the plan says, without a picture's part; None where there is no plan for it

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "device": self.device,
            "machine": asdict(self.machine),
            "threads": self.threads,
            "context": self.context,
            "held": self.held,
            "resident_bytes": self.resident,
            "planned_bytes": self.planned,
            "parallel": [
                {
                    "answers": row.answers,
                    "step": row.step.to_dict(),
                    "newcomer": row.newcomer.to_dict(),
                    "tokens_per_s": round(row.tokens_per_s, 3),
                    "gain": round(row.gain(self.rows[0]), 3),
                }
                for row in self.rows
            ],
        }


def measure_parallel(
    bundle: Bundle,
    device: str,
    threads: int | None,
    answers: Sequence[int],
    held: int,
    repeat: int,
    progress: Progress,
    *,
    resident: bool = False,
) -> ParallelResult:
    """Each of `answers` `repeat` times in turns, after a round to warm up, with `held` tokens in every slot.

    InputError where the bundle knows one slot alone, or the context has no room.
    """
    counts = sorted({1, *answers})
    limit = bundle.manifest.config.decoder.max_position_embeddings
    context = min(limit, held + NEWCOMER_TOKENS + 4 * (repeat + 2) * len(counts))
    if held + NEWCOMER_TOKENS + 1 > context:
        raise InputError(f"--decode-at: {held} tokens and a prompt of {NEWCOMER_TOKENS} are more than {context}")
    progress.stage("loading", 1)
    model = load(
        bundle.folder,
        device=device,
        threads=threads,
        context=context,
        check_files=False,
        parallel=counts[-1],
        resident=resident,
    )
    progress.step("")
    ids = token_ids(model.config, context)
    slots = _filled(model, ids[:held])
    steps: dict[int, list[float]] = {count: [] for count in counts}
    firsts: dict[int, list[float]] = {count: [] for count in counts}
    progress.stage("answers at once", (repeat + 1) * len(counts))
    for turn in range(repeat + 1):
        for count in counts:
            steps[count].append(_step(model, slots, count, held))
            unknown = np.random.default_rng((turn, count)).permutation(ids[held:]).tolist()
            firsts[count].append(_newcomer(model, slots, count, ids[:held], unknown))
            progress.step(f"{count}")
    footprint = Footprint.read("parallel")
    return ParallelResult(
        model=f"{model.name}, {model.parts.form}",
        device=str(model.device.placement),
        machine=Machine.read(versions()),
        threads=threads,
        context=context,
        held=held,
        rows=tuple(
            Parallel(count, Series(tuple(steps[count][1:])), Series(tuple(firsts[count][1:]))) for count in counts
        ),
        resident=None if footprint is None else footprint.rss,
        planned=_planned(bundle, context, counts[-1], resident=resident),
    )


def _filled(model: BundleModel, ids: list[int]) -> Slots:
    slots = model.parts.slots
    assert slots is not None  # a bundle's model has them
    embeddings = model.text.embed(ids, None)
    for decoder in slots.decoders:
        decoder.clear()
        decoder.prefill(ids, embeddings)
    return slots


def _step(model: BundleModel, slots: Slots, count: int, held: int) -> float:
    """Seconds of one token for each, the median of some in a row: the first one comes behind a prompt, which has left
    the caches to itself. Theirs are as long again afterwards."""
    embedding = model.text.embeddings([model.config.tokens.bos])
    steps = [SlotStep(decoder, "token", embedding) for decoder in slots.decoders[:count]]
    _, *took = [seconds(lambda: list(slots.decode(steps))) for _ in range(STEPS)]
    for step in steps:
        step.decoder.truncate(held)
    return statistics.median(took)


def _newcomer(model: BundleModel, slots: Slots, count: int, known: list[int], unknown: list[int]) -> float:
    """Seconds from the moment that an answer joins `count` - 1 others to its first token. `known`: what all slots hold;
    `unknown`: tokens that none does."""
    batch = AnswerBatch(model.text, slots, STALL_S)
    for number in range(count - 1):
        batch.join(*_endless(model, [*known, unknown[-1 - number]]))
    while any(not seat.answer.tokens for seat in batch.seats):
        _stepped(batch)
    joined = time.perf_counter()
    newcomer = batch.join(*_endless(model, [*known, *unknown[:NEWCOMER_TOKENS]]))
    while not newcomer.answer.tokens:
        _stepped(batch)
    took = time.perf_counter() - joined
    for decoder in slots.decoders:
        decoder.truncate(len(known))
    return took


def _stepped(batch: AnswerBatch) -> None:
    """Raises what ended an answer, which would be waited for without end."""
    for outcome in batch.step():
        if isinstance(outcome, Ended) and outcome.error is not None:
            raise outcome.error


def _endless(model: BundleModel, ids: list[int]) -> tuple[Prompt, Callable[[TextModel], Answer]]:
    """To a prompt an answer that doesn't end by itself."""
    prompt, never = Prompt(ids), {model.config.tokens.eos: -math.inf}
    params = SamplingParams(temperature=0.0)
    return prompt, lambda text: Answer(text, prompt, params, logit_bias=never)


def _planned(bundle: Bundle, context: int, slots: int, *, resident: bool) -> int | None:
    try:
        model = PlannedModel.bundle(bundle.manifest.name, bundle)
    except InputError:
        return None
    plan = make_plan(model.resident() if resident else model, context, slots)
    answering, preset = plan.phases[-1], plan.model.preset
    picture = answering.vision + answering.resampler
    if not preset.time_shared:
        picture += tower_workspace(model.config, preset, kept=True).first
    return plan.host_base + answering.total - picture

"""Results of which a judge's replies are a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.evaluation.judge.objhal import parse_objects
from omnilmm_lite.evaluation.running.judging import Replies
from omnilmm_lite.evaluation.scoring import llavabench, mathvista, mmbench, mmhal, mmmu, seedbench
from omnilmm_lite.evaluation.scoring.objhal import chair
from omnilmm_lite.evaluation.scoring.objhal.vocabulary import Vocabulary
from omnilmm_lite.evaluation.scoring.option_letters import extract_option
from omnilmm_lite.evaluation.scoring.result import Result, Score

NOT_COMPARABLE = "judged by {judge}: not comparable with published figures, which {published} gave"
PUBLISHED = {Benchmark.OBJHAL: "GPT-3.5", Benchmark.MMHAL: "GPT-4", Benchmark.LLAVABENCH: "GPT-4",
             Benchmark.MATHVISTA: "GPT-4"}  # fmt: skip
GUESS = "GPT-3.5 (which was asked three times, and then an option drawn)"


@dataclass(frozen=True)
class Pictures:
    """What Object HalBench is scored by: the objects in each picture, by the item's index, and the words for them."""

    present: Mapping[str, AbstractSet[str]]
    vocabulary: Vocabulary


def score_replies(benchmark: Benchmark, predictions: Sequence[Prediction], replies: Replies) -> Result:
    """Of a benchmark that a judge alone scores."""
    items = [each.item for each in predictions]
    score = mmhal.score if benchmark is Benchmark.MMHAL else llavabench.score
    result = score(items, [replies.texts[item.index] for item in items], replies.judge)
    return replace(result, notes=(*result.notes, _note(benchmark, replies)))


def with_judge(
    result: Result, predictions: Sequence[Prediction], replies: Replies, pictures: Pictures | None = None
) -> Result:
    """A result by rules, and beside it the figures that come of the judge's replies. The first figure stays the rules'.

    `pictures`: for Object HalBench.
    """
    scores, lost = _scores(result.benchmark, result.profile, predictions, replies.texts, pictures)
    more = [replace(each, name=f"{each.name}, with a judge") for each in scores]
    asked = f"{counted(len(replies.texts), 'answer')} put to the judge, {counted(lost, 'reply', 'replies')} unread"
    notes = (*result.notes, f"{asked}; {_note(result.benchmark, replies)}")
    return replace(result, scores=(*result.scores, *more), notes=notes)


def _scores(
    benchmark: Benchmark,
    profile: Profile,
    predictions: Sequence[Prediction],
    replies: Mapping[str, str],
    pictures: Pictures | None,
) -> tuple[Sequence[Score], int]:
    """Figures, and how many replies nothing could be read from."""
    if benchmark is Benchmark.OBJHAL:
        assert pictures is not None  # whoever scores by rules has them
        read = {index: parse_objects(reply) for index, reply in replies.items()}
        names = {index: found for index, found in read.items() if found is not None}
        scores = chair.judged_scores(predictions, pictures.present, pictures.vocabulary, names)
        return scores[:2], len(read) - len(names)
    if benchmark is Benchmark.MATHVISTA:
        judged = mathvista.score(predictions, profile, replies)
        lost = sum(each.index in replies and each.extracted is None for each in judged.verdicts)
        return judged.scores[:2], lost
    if benchmark is Benchmark.MMMU:
        letters = [
            extract_option(replies[each.item.index], mmmu.options_and_gold(each.item, profile)[0])
            for each in predictions
            if each.item.index in replies
        ]
        return mmmu.judged_scores(predictions, replies), letters.count(None)
    replaced = [Prediction(each.item, replies.get(each.item.index, each.text)) for each in predictions]
    judged = (mmbench if benchmark is Benchmark.MMBENCH else seedbench).score(replaced, profile)
    lost = sum(each.index in replies and each.extracted is None for each in judged.verdicts)
    return judged.scores[:1], lost


def _note(benchmark: Benchmark, replies: Replies) -> str:
    return NOT_COMPARABLE.format(judge=replies.judge, published=PUBLISHED.get(benchmark, GUESS))

"""Right answers that no answer can be equal to."""

from __future__ import annotations

from collections.abc import Sequence

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.mathvista_fields import MathVistaFields
from omnilmm_lite.evaluation.scoring.easyvqa import ANSWERS
from omnilmm_lite.evaluation.scoring.mathvista import is_gold
from omnilmm_lite.files.json_file import shown

YES_OR_NO = ("Yes", "No")


def wrong_gold(benchmark: Benchmark, item: Item) -> str | None:
    """What is wrong with a row's right answer; None where nothing is, or where the benchmark goes by none.

    InputError where it is a row of MathVista's that can't be scored at all.
    """
    answer = f"the right answer is {shown(item.answer)}"
    if benchmark in (Benchmark.MMBENCH, Benchmark.SEEDBENCH) and item.answer not in item.options:
        return f"{answer}, which is none of its options"
    if benchmark is Benchmark.MMMU and (item.answer is None or (item.options and item.answer not in item.options)):
        return f"{answer}, which is none of its options"
    if benchmark is Benchmark.MME and item.answer not in YES_OR_NO:
        return f"{answer}, where MME has {' or '.join(YES_OR_NO)}"
    if benchmark is Benchmark.EASYVQA and item.answer not in ANSWERS:
        return f"{answer}, which is none of easy-VQA's words"
    return _wrong_in_mathvista(item, answer) if benchmark is Benchmark.MATHVISTA else None


def refuse_without_golds(benchmark: Benchmark, items: Sequence[Item]) -> None:
    """InputError where not one row has a right answer, as in a split without answers or another benchmark's file."""
    first = wrong_gold(benchmark, items[0]) if items else None
    if first is not None and all(wrong_gold(benchmark, item) is not None for item in items):
        raise InputError(
            f"{benchmark}: no row has a right answer ({items[0].place}: {first}); give the benchmark's own file, of "
            "the split with answers"
        )


def _wrong_in_mathvista(item: Item, answer: str) -> str | None:
    fields = MathVistaFields.of(item)
    if not fields.is_choice:
        right = is_gold(item.answer, fields.answer_type)
        return None if right else f"{answer}, where one of type {fields.answer_type} is needed"
    if item.answer not in item.options.values():
        return f"{answer}, which is none of its choices"
    if fields.answer_option not in item.options:
        return f"answer_option is {shown(fields.answer_option)}, which is none of its choices' letters"
    return None

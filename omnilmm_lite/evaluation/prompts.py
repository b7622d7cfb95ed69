"""What the model is asked: a question with its hint and options, to the letter as a profile has it."""

from __future__ import annotations

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import QUERY, READ_AS_ABSENT, Item
from omnilmm_lite.evaluation.mathvista_fields import AnswerType, MathVistaFields
from omnilmm_lite.sampling_params import SamplingParams

OPTION_LETTER = (
    "Study the image carefully and pick the option associated with the correct answer. "
    "Focus solely on selecting the option and avoid including any other content.\n"
)
MMMU_CHOICE = "Answer with the option's letter from the given choices directly."
MMMU_OPEN = "Answer the question using a single word or phrase."

# MathVista's hints, by the kind of answer and, of floats, by the decimals.
MATHVISTA_CHOICE = (
    "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
)
MATHVISTA_NUMBER = {
    (AnswerType.INTEGER, None): ("an integer answer", "value, e.g., 1, 2, 3,"),
    (AnswerType.FLOAT, 1): ("a floating-point number with one decimal place", "value, e.g., 1.2, 1.3, 1.4,"),
    (AnswerType.FLOAT, 2): ("a floating-point number with two decimal places", "value, e.g., 1.23, 1.34, 1.45,"),
    (AnswerType.LIST, None): ("a Python list as an answer", "list, e.g., [1, 2, 3], [1.2, 1.3, 1.4],"),
}

CHOICES = frozenset({Benchmark.MMBENCH, Benchmark.SEEDBENCH, Benchmark.MMMU})

# As the card's numbers were made: the likeliest token each time, 512 of them at most.
DECODING = SamplingParams(temperature=0.0, repetition_penalty=1.1, max_new_tokens=512)


def build_prompt(benchmark: Benchmark, item: Item, profile: Profile) -> str:
    """The user's turn, without the picture. Where the authors prescribe no prompt, `official` is the kit's too."""
    if benchmark is Benchmark.MMMU and profile is Profile.OFFICIAL:
        return _mmmu(item)
    if benchmark is Benchmark.MATHVISTA:
        return item.attributes.get(QUERY) or _mathvista(item)
    if benchmark in CHOICES:
        return _option_letter(item)
    return item.question


def _option_letter(item: Item) -> str:
    """The kit's: hint, question, options, and a line's end behind the last. Without options there is no instruction."""
    hint = "" if item.hint is None or item.hint in READ_AS_ABSENT else f"Hint: {item.hint}\n"
    options = "".join(f"{letter}. {text}\n" for letter, text in item.options_of_kit.items())
    prompt = f"{hint}{item.question}\n"
    return f"{OPTION_LETTER}{prompt}Options:\n{options}" if options else prompt


def _mmmu(item: Item) -> str:
    if not item.options:
        return f"{item.question}\n{MMMU_OPEN}"
    options = "".join(f"({letter}) {text}\n" for letter, text in item.options.items())
    return f"{item.question}\n{options}\n{MMMU_CHOICE}"


def _mathvista(item: Item) -> str:
    """The query of testmini, which has the hint first, for data without it."""
    fields = MathVistaFields.of(item)
    if fields.is_choice:
        hint = MATHVISTA_CHOICE
    else:
        wanted, example = MATHVISTA_NUMBER.get(
            (fields.answer_type, fields.precision), MATHVISTA_NUMBER[AnswerType.INTEGER, None]
        )
        hint = f"Hint: Please answer the question requiring {wanted} and provide the final {example} at the end."
    unit = item.attributes.get("unit")
    question = f"Question: {item.question}" + (f" (Unit: {unit})" if unit else "")
    options = "".join(f"\n({letter}) {text}" for letter, text in item.options.items())
    choices = f"\nChoices:{options}" if options else ""
    return f"{hint}\n{question}{choices}".strip()

"""The judges' instructions, from the files in which the benchmarks' authors publish them.

They are pages of other people's text, so they come from the user's copy: a .json or .txt file, or the Python script
that holds them, which is parsed for these texts and never run.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.text_file import read_json, read_text
from omnilmm_lite.evaluation.judge.request import PLACE

MMHAL_NAME = "template"  # in MMHal-Bench's eval_gpt4.py
LLAVA_NAME = "rule_dict"  # in VLMEvalKit's llavabench.py; LLaVA has a rule.json
MMHAL_PLACES = 4  # for contents, question, right answer, answer
LLAVA_PREFIX = "llava_bench_"
MATCHING_NAME, MATCHING_FUNCTIONS = "tmpl", ("build_prompt", "build_prompt_cn")  # in VLMEvalKit's multiple_choice.py
MATCHING_PLACES = 3  # for question, options, answer
EXTRACTION_NAME, EXTRACTION_FUNCTION = "task_description", "build_mathvista_gpt4_prompt"  # in its mathvista_eval.py
EXAMPLES_FUNCTION, EXAMPLES = "get_gpt4_ICE", 5
AUTHORS_EXTRACTION_NAME = "demo_prompt"  # in MathVista's ext_ans.py
OBJECTS_NAME, OBJECTS_PLACES = "prompt_template", ("{question}", "{answer}")  # in RLHF-V's eval_gpt_obj_halbench.py


@dataclass(frozen=True)
class MatchingRubric:
    """What the kit asks to match an answer with options: texts with three places, by the question's language."""

    english: str
    chinese: str


def read_mmhal_rubric(path: Path) -> str:
    """A text with four places `{}`. InputError where it has another number of them."""
    found = _assigned(path, MMHAL_NAME) if path.suffix == ".py" else read_text(path)
    if not isinstance(found, str) or found.count(PLACE) != MMHAL_PLACES:
        raise InputError(
            f"{path}: no text with {MMHAL_PLACES} places {PLACE}; give MMHal-Bench's eval_gpt4.py, or its template as "
            "a text file"
        )
    return found


def read_llava_rubric(path: Path) -> dict[str, tuple[str, str]]:
    """By category: what the answers are called, and the instruction. InputError where it is another file."""
    found = _assigned(path, LLAVA_NAME) if path.suffix == ".py" else read_json(path)
    rules: dict[str, tuple[str, str]] = {}
    for name, rule in found.items() if isinstance(found, dict) else ():
        match rule:
            case {"role": str(role), "prompt": str(prompt)} if str(name).startswith(LLAVA_PREFIX):
                rules[str(name).removeprefix(LLAVA_PREFIX)] = role, prompt
    if not rules:
        raise InputError(f"{path}: no rules {LLAVA_PREFIX}...; give LLaVA's rule.json or VLMEvalKit's llavabench.py")
    return rules


def read_matching_rubric(path: Path) -> MatchingRubric:
    """InputError where it isn't VLMEvalKit's multiple_choice.py."""
    english, chinese = (_assigned(path, MATCHING_NAME, function) for function in MATCHING_FUNCTIONS)
    if not all(isinstance(each, str) and each.count(PLACE) == MATCHING_PLACES for each in (english, chinese)):
        raise InputError(
            f"{path}: no two texts {MATCHING_NAME!r} with {MATCHING_PLACES} places {PLACE}; give VLMEvalKit's "
            "multiple_choice.py"
        )
    return MatchingRubric(english, chinese)


def read_kit_extraction_rubric(path: Path) -> str:
    """What stands before the question: the task and its examples. InputError where it isn't VLMEvalKit's
    mathvista_eval.py."""
    task = _assigned(path, EXTRACTION_NAME, EXTRACTION_FUNCTION)
    examples = [_assigned(path, f"example_{number}", EXAMPLES_FUNCTION) for number in range(1, EXAMPLES + 1)]
    texts = [each for each in (task, *examples) if isinstance(each, str)]
    if len(texts) != 1 + EXAMPLES:
        raise InputError(f"{path}: no task and {EXAMPLES} examples in it; give VLMEvalKit's mathvista_eval.py")
    return texts[0] + "".join(f"{example}\n" for example in texts[1:])


def read_authors_extraction_rubric(path: Path) -> str:
    """The same from MathVista's own ext_ans.py. InputError where it is another file."""
    found = _assigned(path, AUTHORS_EXTRACTION_NAME)
    if not isinstance(found, str):
        raise InputError(f"{path}: no text {AUTHORS_EXTRACTION_NAME!r} in it; give MathVista's ext_ans.py")
    return found


def read_objects_rubric(path: Path) -> str:
    """A text with the places {question} and {answer}. InputError where it isn't RLHF-V's eval_gpt_obj_halbench.py."""
    found = _assigned(path, OBJECTS_NAME)
    if not isinstance(found, str) or any(place not in found for place in OBJECTS_PLACES):
        raise InputError(
            f"{path}: no text {OBJECTS_NAME!r} with {' and '.join(OBJECTS_PLACES)}; give RLHF-V's "
            "eval_gpt_obj_halbench.py"
        )
    return found


def _assigned(path: Path, name: str, function: str | None = None) -> Any:
    """The literal that a script assigns to a name at its outermost level, or in a function of that level; None where it
    assigns none."""
    try:
        statements = ast.parse(read_text(path)).body
        if function is not None:
            bodies = [each.body for each in statements if isinstance(each, ast.FunctionDef) and each.name == function]
            statements = bodies[0] if bodies else []
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    return ast.literal_eval(value)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InputError(f"{path} can't be read as Python; download it again") from None
    return None

"""The judges' instructions, from the files in which the benchmarks' authors publish them.

They are pages of other people's text, so they come from the user's copy: a .json or .txt file, or the Python script
that holds them, which is parsed for that one text and never run.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.text_file import read_json, read_text

MMHAL_NAME = "template"  # in MMHal-Bench's eval_gpt4.py
LLAVA_NAME = "rule_dict"  # in VLMEvalKit's llavabench.py; LLaVA has a rule.json
PLACE = "{}"
MMHAL_PLACES = 4  # for contents, question, right answer, answer
LLAVA_PREFIX = "llava_bench_"


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


def _assigned(path: Path, name: str) -> Any:
    """The literal that a script assigns to a name at its outermost level; None where it assigns none."""
    try:
        for statement in ast.parse(read_text(path)).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    return ast.literal_eval(value)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InputError(f"{path} can't be read as Python; download it again") from None
    return None

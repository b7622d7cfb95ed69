"""Sampling options by name and in words: what /set reads and shows."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingOptions, SamplingParams, sampling_params

NAMES = tuple(SamplingOptions.__annotations__)
DEFAULT = "default"
NOTHING = "none"
ON, OFF = "on", "off"


def changed(params: SamplingParams, defaults: SamplingParams, name: str, value: str) -> SamplingParams:
    """`params` with one option set; the word `default` takes it from `defaults`. InputError for what can't be."""
    name, value = name.replace("-", "_").lower(), value.strip().lower()
    if name not in NAMES:
        raise InputError(f"{name}: there is no such setting{_nearest(name)}; /set lists them")
    if name == "greedy":
        if value not in (ON, OFF, DEFAULT):
            raise InputError(f"greedy: {value!r} is neither on nor off; give one of them")
        if value == ON:
            return sampling_params(params, {"greedy": True})
        name, value = "temperature", DEFAULT
    number = getattr(defaults, name) if value == DEFAULT else _number(name, value)
    changes: Any = {name: number}
    return dataclasses.replace(params, **changes)


def rows(params: SamplingParams, defaults: SamplingParams) -> list[tuple[str, str]]:
    """Every option and its value, with the default beside those that differ from it."""
    shown = [("greedy", _word(params.is_greedy), _word(defaults.is_greedy))]
    for field in dataclasses.fields(SamplingParams):
        shown.append((field.name, _word(getattr(params, field.name)), _word(getattr(defaults, field.name))))
    return [(name, now if now == default else f"{now} (default {default})") for name, now, default in shown]


def _word(value: float | bool | None) -> str:
    if isinstance(value, bool):
        return ON if value else OFF
    return NOTHING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _number(name: str, value: str) -> float | int | None:
    whole = name in ("top_k", "max_new_tokens", "seed")
    if name == "seed" and value == NOTHING:
        return None
    try:
        return int(value) if whole else float(value)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{name}: {value!r} is not {kind}; give one, or the word default") from None


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, 1)
    return f", perhaps {near[0]}" if near else ""

"""Which fields a request may have, and what becomes of each: the table of docs/server.md, as code.

Source: OpenAI's API reference; top_k, min_p, repetition_penalty and others as in vLLM's, llama.cpp's and Ollama's
servers, whose clients send them here, too.
"""

from __future__ import annotations

from typing import Any

from omnilmm_lite.serve.request.fields import FieldTable

NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
INTEGERS = ("top_k", "seed")
# Other names for what is known by the second; they must agree where both are given.
ALIASES = {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens", "num_predict": "max_tokens",
           "n_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}  # fmt: skip
SAMPLING = frozenset((*NUMBERS, *INTEGERS, "max_tokens", *ALIASES, "stop", "logit_bias"))
COMMON = SAMPLING | {"model", "stream", "stream_options", "user"}

# They change no answer: who asks, what is kept, cached, billed or shown, how a server of another kind is run.
HARMLESS = frozenset({
    "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier",
    "reasoning_effort", "verbosity", "reasoning", "parallel_tool_calls", "max_tool_calls", "prediction",
    "cache_control", "cache_prompt", "keep_alive", "num_ctx", "n_ctx", "num_keep", "n_keep", "num_batch", "num_gpu",
    "num_thread", "main_gpu", "low_vram", "use_mmap", "use_mlock", "numa", "id_slot", "timings_per_token",
    "return_progress", "priority", "request_id", "chat_id", "session_id", "think", "enable_thinking",
    "reasoning_format", "thinking_forced_open", "spaces_between_special_tokens", "include_reasoning",
    "background_tasks", "features", "variables", "truncation", "mirostat_tau", "mirostat_eta", "xtc_threshold",
    "dynatemp_exponent", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers",
})  # fmt: skip

# They would change the answer, and can't be had but with these values, with which some clients always send them.
ONLY: dict[str, tuple[Any, ...]] = {
    "audio": (), "modalities": (["text"],), "web_search_options": (), "functions": ([],), "function_call": ("none",),
    "best_of": (1,), "use_beam_search": (False,), "length_penalty": (1,), "early_stopping": (False,),
    "min_tokens": (0,), "ignore_eos": (False,), "stop_token_ids": ([],), "bad_words": ([],),
    "allowed_token_ids": ([],), "include_stop_str_in_output": (False,), "echo": (False,), "suffix": ("",),
    "add_generation_prompt": (True,), "continue_final_message": (False,), "chat_template": (), "documents": ([],),
    "prompt_logprobs": (0,), "truncate_prompt_tokens": (), "logits_processors": ([],), "structured_outputs": (),
    "guided_json": (), "guided_regex": (), "guided_choice": (), "guided_grammar": (), "grammar": ("",),
    "json_schema": (), "format": ("",), "typical_p": (1,), "tfs_z": (1,), "top_a": (0,), "mirostat": (0,),
    "dynatemp_range": (0,), "xtc_probability": (0,), "top_n_sigma": (-1,), "typ_p": (1,),
    "skip_special_tokens": (True,), "dry_multiplier": (0,),
    "n_probs": (0,), "lora": ([],),
    "plugins": ([],), "moderation": (),
}  # fmt: skip

# They mean nearly what is done here; programs send them in every request.
NEARLY = {
    "repeat_last_n": "the penalty goes by the whole answer",
    "penalize_newline": "the penalties treat line ends like all else",
    "penalize_nl": "the penalties treat line ends like all else",
    "samplers": "the order is penalties, temperature, top_k, top_p, min_p",
}

_CHAT = {"messages", "response_format", "n", "logprobs", "top_logprobs", "tools", "tool_choice"}
_COMPLETION = {"prompt", "n", "best_of", "logprobs", "echo", "response_format"}
_RESPONSE = {"input", "instructions", "text", "tools", "tool_choice", "top_logprobs", "include"}
# What one endpoint honours, and another one can't, asks for nothing there with these values.
NOTHING: dict[str, tuple[Any, ...]] = {"n": (1,), "logprobs": (False,), "top_logprobs": (0,), "tools": ([],),
                                       "tool_choice": ("none", "auto"), "include": ([],)}  # fmt: skip


def _table(own: set[str], only: dict[str, tuple[Any, ...]]) -> FieldTable:
    elsewhere = {name: NOTHING.get(name, ()) for name in _CHAT | _COMPLETION | _RESPONSE}
    refused = elsewhere | ONLY | only
    return FieldTable(COMMON | own, HARMLESS, {name: refused[name] for name in refused if name not in own}, NEARLY)


CHAT = _table(_CHAT, {})
COMPLETION = _table(_COMPLETION, {})
RESPONSE = _table(
    _RESPONSE,
    {"previous_response_id": (), "conversation": (), "background": (False,), "context_management": ([],)},
)

STREAM_OPTIONS = FieldTable(frozenset({"include_usage"}), frozenset({"include_obfuscation", "continuous_usage_stats"}))
MESSAGE = FieldTable(
    frozenset({"role", "content", "tool_calls", "tool_call_id", "name", "refusal", "type"}),
    frozenset({"metadata", "cache_control", "id", "status", "phase", "annotations", "reasoning_content", "reasoning",
               "reasoning_details", "thinking", "provider_specific_fields", "parsed", "timestamp"}),
    {"function_call": (), "audio": (), "prefix": (False,), "partial": (False,), "images": ([],)},
)  # fmt: skip
TEXT_PART = FieldTable(
    frozenset({"type", "text", "refusal"}),
    frozenset({"annotations", "logprobs", "cache_control", "prompt_cache_breakpoint", "id"}),
)
PICTURE_PART = FieldTable(
    frozenset({"type", "image_url"}),
    frozenset({"detail", "cache_control", "prompt_cache_breakpoint", "id"}),
    {"file_id": ()},
)
PICTURE_URL = FieldTable(frozenset({"url"}), frozenset({"detail", "format"}))
TOOL = FieldTable(frozenset({"type", "function"}), frozenset({"cache_control"}))
FUNCTION = FieldTable(
    frozenset({"type", "name", "description", "parameters"}),
    frozenset({"strict", "cache_control", "returns", "defer_loading"}),
)
TEXT = FieldTable(frozenset({"format"}), frozenset({"verbosity"}))
FORMAT = FieldTable(frozenset({"type", "json_schema"}))
SCHEMA = FieldTable(frozenset({"type", "schema"}), frozenset({"name", "description", "strict"}))

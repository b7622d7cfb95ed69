"""`options` of Ollama's requests: how an answer is drawn, and how a model is run."""

from __future__ import annotations

from typing import Any

from omnilmm_lite.serve.request.fields import FieldTable, RequestFields
from omnilmm_lite.serve.request.tables import NEARLY

DRAWING = frozenset({"temperature", "top_k", "top_p", "min_p", "seed", "stop", "presence_penalty", "frequency_penalty",
                     "repeat_penalty", "num_predict"})  # fmt: skip
CONTEXT = "num_ctx"
OPTIONS = FieldTable(
    honoured=DRAWING | {CONTEXT},
    harmless=frozenset({"numa", "num_keep", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "logits_all",
                        "vocab_only", "use_mmap", "use_mlock", "embedding_only", "num_thread", "draft_num_predict",
                        "mirostat_tau", "mirostat_eta"}),
    only={"mirostat": (0,), "tfs_z": (1,), "typical_p": (0, 1)},
    nearly={field: NEARLY[field] for field in ("repeat_last_n", "penalize_newline")},
)  # fmt: skip


def read_options(options: RequestFields | None, context: int) -> dict[str, Any]:
    """Those that draw the answer, by names that a chat request has, too. ApiError names one that would change the
    answer and can't be honoured."""
    if options is None:
        return {}
    options.check(OPTIONS)
    if (options.integer(CONTEXT) or 0) > context:
        more = f"the context holds {context} tokens; start the server with --context for more"
        options.warnings.add(f"{options.name(CONTEXT)}: {more}")
    return {field: value for field in DRAWING if (value := options.value(field)) is not None}

"""Mistakes in what runs a model: each one that somebody could make, in a place where it would matter."""

from __future__ import annotations

from benchmarks.mutation.mutant import Mutant

ENGINE = "tests/engine/test_decoder.py"
SAMPLING = "tests/answer/test_sampling.py"
GENERATION = "tests/answer/test_generation.py"
DRAFTS = "tests/answer/test_drafts.py"
READING = "tests/picture/test_reading.py"
PROMPT = "tests/text/test_prompt.py"
TOKENIZER = "tests/text/test_tokenizer.py"
FOLDER = "tests/bundle/test_folder.py"
CGROUP = "tests/machine/test_cgroup.py"
PROCESSOR = "tests/machine/test_processor.py"
QUEUE = "tests/serve/test_fair_queue.py"
FIELDS = "tests/serve/request/test_fields.py"
CONVERSATION = "tests/serve/request/test_conversation.py"
OFFICIAL = "tests/serve/openai/test_official_client.py"
LOGPROBS = "tests/answer/test_logprobs.py"
REFUSALS = "tests/serve/test_refusals.py"
FETCHING = "tests/serve/request/pictures/test_fetching.py"
STATISTICS = "tests/quality/test_statistics.py"
PLAN = "tests/plan/test_plan.py"
CAPTION = "tests/caption/test_output.py"
TRANSCRIPT = "tests/terminal/test_transcript.py"
PATHS = "tests/terminal/test_paths.py"

MUTANTS = (
    # ---- engine ----
    Mutant(
        "omnilmm_lite/engine/decoder_graphs.py",
        'run_graph(session, binding, "decoder", unrecorded() if self.cuda_graph else None)',
        'run_graph(session, binding, "decoder")',
        "tests/engine/test_binding.py",
    ),
    Mutant(
        "omnilmm_lite/engine/decoder.py",
        "keys[:-1], strict=False)\n        return",
        "keys, strict=False)\n        return",
        ENGINE,
    ),
    Mutant("omnilmm_lite/engine/decoder.py", "        del self._held[shared:]\n", "", ENGINE),
    Mutant(
        "omnilmm_lite/engine/decoder.py",
        "self.length + tokens > self.context",
        "self.length + tokens >= self.context",
        ENGINE,
    ),
    Mutant("omnilmm_lite/engine/decoder_graphs.py", "lengths + (tokens - 1)", "lengths + tokens", ENGINE),
    Mutant("omnilmm_lite/engine/decoder_graphs.py", "last.max() + 1", "last.min() + 1", "tests/engine/test_slots.py"),
    Mutant(
        "omnilmm_lite/engine/graph_decoder.py",
        "        decoder.truncate(self.graphs.context - 1)\n",
        "",
        "tests/engine/test_slots.py",
    ),
    Mutant(
        "omnilmm_lite/engine/vision.py",
        "len(self._cache) > CACHED_PICTURES",
        "len(self._cache) > 1",
        "tests/engine/test_picture_features.py tests/engine/test_vision.py",
    ),
    Mutant(
        "omnilmm_lite/engine/vision.py",
        "        self._cache.move_to_end(pixel_hash)\n",
        "",
        "tests/engine/test_picture_features.py tests/engine/test_vision.py",
    ),
    Mutant(
        "omnilmm_lite/engine/pages/paging.py",
        "for start, end in ranges) > room",
        "for start, end in ranges) < room",
        "tests/engine/pages/test_paging.py",
    ),
    Mutant(
        "omnilmm_lite/engine/pages/paging.py", "min(CHUNK, end - start)", "CHUNK", "tests/engine/pages/test_paging.py"
    ),
    Mutant(
        "omnilmm_lite/engine/device.py",
        "    if used != where.device.provider:",
        "    if False:",
        "tests/engine/test_device.py",
    ),
    Mutant("omnilmm_lite/engine/decoder_graphs.py", "            self._single.clear()\n", "", ENGINE),
    Mutant(
        "omnilmm_lite/engine/graph_opener.py",
        "self.placement.vision if is_vision",
        "self.placement.decoder if is_vision",
        "tests/engine/test_graph_opener.py",
    ),
    # ---- answer ----
    Mutant("omnilmm_lite/answer/drafts.py", "min(self._credit + 1, CREDIT)", "self._credit + 1", DRAFTS),
    Mutant("omnilmm_lite/answer/drafts.py", "                self._unbroken = 0\n", "                pass\n", DRAFTS),
    Mutant(
        "omnilmm_lite/answer/sampling.py", "np.where(scores < 0, scores *", "np.where(scores > 0, scores *", SAMPLING
    ),
    Mutant("omnilmm_lite/answer/sampling.py", "ids[kept >= np.partition", "ids[kept > np.partition", SAMPLING),
    Mutant(
        "omnilmm_lite/answer/sampling.py", "before < params.top_p", "before <= params.top_p - probabilities", SAMPLING
    ),
    Mutant("omnilmm_lite/answer/sampling.py", "params.min_p * probabilities[0]", "params.min_p", SAMPLING),
    Mutant("omnilmm_lite/answer/sampling.py", "        self._generated[token_id] += 1\n", "", SAMPLING),
    Mutant(
        "omnilmm_lite/answer/stop_strings.py",
        "text[: min(starts)]",
        "text[: max(starts)]",
        "tests/answer/test_stop_strings.py",
    ),
    Mutant(
        "omnilmm_lite/answer/generation.py",
        "timings.new_tokens == self._max_new_tokens",
        "timings.new_tokens > self._max_new_tokens",
        GENERATION,
    ),
    Mutant("omnilmm_lite/answer/generation.py", "if decoder.version != self._cache_version:", "if False:", GENERATION),
    Mutant("omnilmm_lite/answer/generation.py", "(prompt.image.pixel_hash, i)", "i", GENERATION),
    # ---- machine ----
    Mutant(
        "omnilmm_lite/machine/memory.py",
        "            ctypes.CDLL(None).malloc_trim(0)\n",
        "            pass\n",
        "tests/machine/test_memory.py",
    ),
    Mutant("omnilmm_lite/machine/memory.py", "max(0, limit.size - limit.used)", "limit.size", CGROUP),
    Mutant("omnilmm_lite/machine/cgroup.py", "min((quota for quota", "max((quota for quota", CGROUP),
    Mutant("omnilmm_lite/machine/cgroup.py", "max(0, with_swap - size)", "with_swap", CGROUP),
    Mutant("omnilmm_lite/machine/cgroup.py", "range(len(names), -1, -1)", "range(len(names), 0, -1)", CGROUP),
    Mutant("omnilmm_lite/machine/cores.py", "range(start, end + 1)", "range(start, end)", PROCESSOR),
    Mutant("omnilmm_lite/machine/cores.py", "sorted(capacities, reverse=True)", "sorted(capacities)", PROCESSOR),
    Mutant(
        "omnilmm_lite/machine/threads.py",
        "math.ceil(quota)",
        "math.floor(quota)",
        CGROUP + " tests/machine/test_limits.py",
    ),
    # ---- picture, text, bundle ----
    Mutant(
        "omnilmm_lite/picture/reading.py",
        "    6: Image.Transpose.ROTATE_270",
        "    6: Image.Transpose.ROTATE_90",
        READING,
    ),
    Mutant(
        "omnilmm_lite/picture/reading.py", "width * height > MAX_PIXELS", "width * height > 2 * MAX_PIXELS", READING
    ),
    Mutant("omnilmm_lite/picture/reading.py", "max(size) > MAX_ASPECT", "max(size) >= MAX_ASPECT", READING),
    Mutant(
        "omnilmm_lite/picture/preprocess.py",
        "normalised.astype(np.float16).astype(np.float32)",
        "normalised",
        "tests/picture/test_preprocess.py",
    ),
    Mutant("omnilmm_lite/picture/reading.py", "* 255 + 32767) // 65535", "* 255) // 65535", READING),
    Mutant("omnilmm_lite/picture/listing.py", "tuple(sorted(found))", "tuple(found)", "tests/picture/test_listing.py"),
    Mutant("omnilmm_lite/text/prompt.py", "            image_due = False\n", "", PROMPT),
    Mutant("omnilmm_lite/text/prompt.py", 'return [picture, "\\n" + question]', "return [picture, question]", PROMPT),
    Mutant(
        "omnilmm_lite/text/tokenizer.py", "encode_special_tokens = True", "encode_special_tokens = False", TOKENIZER
    ),
    Mutant(
        "omnilmm_lite/text/tokenizer.py", "token_id < 0 or token_id in self._special_ids", "token_id < 0", TOKENIZER
    ),
    Mutant(
        "omnilmm_lite/bundle/folder.py",
        "            if size != entry.size:",
        "            if size < entry.size:",
        FOLDER,
    ),
    Mutant("omnilmm_lite/bundle/folder.py", 'path.is_absolute() or ".." in path.parts', "path.is_absolute()", FOLDER),
    Mutant("omnilmm_lite/bundle/folder.py", " or not locations <= sizes.keys():", ":", FOLDER),
    Mutant(
        "omnilmm_lite/files/durable_file.py",
        "        _sync(partial)\n        move_into_place",
        "        move_into_place",
        "tests/files/test_durable_file.py",
    ),
    Mutant(
        "omnilmm_lite/keys.py",
        '(config.kv_dim, hidden),\n        "self_attn.v_proj"',
        '(config.q_dim, hidden),\n        "self_attn.v_proj"',
        "tests/test_keys.py",
    ),
    # ---- serve ----
    Mutant(
        "omnilmm_lite/serve/engine.py",
        "self._mean_s += NEWEST_WEIGHT *",
        "self._mean_s += 0 *",
        "tests/serve/test_engine.py",
    ),
    Mutant("omnilmm_lite/serve/fair_queue.py", "popitem(last=False)", "popitem(last=True)", QUEUE),
    Mutant("omnilmm_lite/serve/fair_queue.py", "rounds + 1 if other in earlier else rounds", "rounds", QUEUE),
    Mutant("omnilmm_lite/serve/access.py", 'scheme.lower() == "bearer" and hmac', "hmac", REFUSALS),
    Mutant("omnilmm_lite/serve/access.py", "origin in self.origins or ", "True or ", REFUSALS),
    Mutant(
        "omnilmm_lite/serve/request/pictures/fetching.py",
        "ip.is_global and not ip.is_multicast",
        "ip.is_global",
        FETCHING,
    ),
    Mutant("omnilmm_lite/serve/request/pictures/fetching.py", "ip in NAT64 or ", "", FETCHING),
    Mutant(
        "omnilmm_lite/serve/request/pictures/fetching.py",
        "len(data) > MAX_BYTES",
        "len(data) > 2 * MAX_BYTES",
        FETCHING,
    ),
    Mutant("omnilmm_lite/serve/request/fields.py", "type(value) is type(other) or ", "True or ", FIELDS),
    Mutant("omnilmm_lite/serve/request/fields.py", "if self.warnings.strict:", "if False:", FIELDS),
    Mutant("omnilmm_lite/serve/request/sampling.py", "(params.seed + index)", "params.seed", FIELDS),
    Mutant(
        "omnilmm_lite/serve/request/conversation.py", "newest, last = seen[-1]", "newest, last = seen[0]", CONVERSATION
    ),
    Mutant(
        "omnilmm_lite/serve/request/conversation.py",
        "if not turns or turns[-1].role != role:",
        "if True:",
        CONVERSATION,
    ),
    Mutant("omnilmm_lite/serve/request/tools.py", "place + value[1:] if key", "value if key", OFFICIAL),
    Mutant(
        "omnilmm_lite/serve/openai/tool_call.py",
        "certain = self._held.removesuffix(END)",
        "certain = self._held",
        OFFICIAL,
    ),
    Mutant("omnilmm_lite/answer/logprobs.py", "scores -= scores.max()", "scores /= 2", LOGPROBS),
    Mutant("omnilmm_lite/answer/sampling.py", "            logits = logits.copy()\n", "", LOGPROBS),
    # ---- the other faces ----
    Mutant("omnilmm_lite/files/json_log.py", "        self._file.truncate(self._whole)\n", "", CAPTION),
    Mutant(
        "omnilmm_lite/files/json_log.py",
        "            if before.get(name) != self._settings.get(name)\n",
        "            if False\n",
        CAPTION,
    ),
    Mutant("omnilmm_lite/terminal/chats/transcript.py", "mode=0o600", "mode=0o644", TRANSCRIPT),
    Mutant("omnilmm_lite/terminal/chats/transcript.py", "    _check_target(path)\n", "", TRANSCRIPT),
    Mutant("omnilmm_lite/terminal/paths/readings.py", 'if host not in ("", "localhost"):', "if False:", PATHS),
    Mutant(
        "omnilmm_lite/plan/memory.py",
        "values = 2 * decoder.num_hidden_layers",
        "values = decoder.num_hidden_layers",
        PLAN,
    ),
    Mutant("omnilmm_lite/plan/memory.py", "return max(phase.most for phase", "return min(phase.most for phase", PLAN),
    Mutant("omnilmm_lite/plan/verdict.py", "return self.spare >= 0", "return self.spare > -GIB", PLAN),
    Mutant("omnilmm_lite/quality/statistics.py", "resampled.std(axis=0, ddof=1)", "resampled.std(axis=0)", STATISTICS),
    Mutant("omnilmm_lite/quality/statistics.py", "len(counts) / (len(counts) - 1) *", "1 *", STATISTICS),
    Mutant(
        "omnilmm_lite/quality/statistics.py",
        "(np.exp(log_p) * (log_p - log_q))",
        "(np.exp(log_q) * (log_q - log_p))",
        STATISTICS,
    ),
)

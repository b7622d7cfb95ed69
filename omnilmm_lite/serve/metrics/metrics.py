"""The server's numbers for Prometheus, in a registry of their own: nothing of another library gets among them.

Names and units follow Prometheus' own conventions: base units, `_total` behind counters. Source: its documentation,
"Metric and label naming".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from omnilmm_lite.machine.memory import rss_bytes
from omnilmm_lite.serve.errors import shutting_down
from omnilmm_lite.serve.jobs import Event, Failed, Finished
from omnilmm_lite.serve.model.residence import ModelState

if TYPE_CHECKING:
    from omnilmm_lite.serve.engine import Engine

# Seconds: from a small model's token to a large one's answer, each about twice the one before.
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0, 600.0)
OTHER = "other"  # paths and methods that aren't ours: strangers mustn't make a time series each
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")


class Metrics:
    """Counts answers and requests; queue, memory and the model's state are looked up when they are asked for."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter("omnilmm_requests", "Requests by route, method and status; 499: the client left.",
                                 ("endpoint", "method", "status"), registry=registry)  # fmt: skip
        self._request_s = Histogram("omnilmm_request_seconds", "From a request's headers to the end of its answer.",
                                    ("endpoint",), buckets=SECONDS, registry=registry)  # fmt: skip
        self._answers = Counter("omnilmm_answers", "Answers by how they ended: stop, length, cancelled, failed.",
                                ("reason",), registry=registry)  # fmt: skip
        self._phase_s = Histogram("omnilmm_phase_seconds", "What an answer's time went to: queue, load, picture, "
                                  "prompt, decode.", ("phase",), buckets=SECONDS, registry=registry)  # fmt: skip
        self._prompt = Counter("omnilmm_prompt_tokens", "Tokens of prompts, pictures' too.", registry=registry)
        self._cached = Counter("omnilmm_cached_prompt_tokens", "Of these, what the KV cache held.", registry=registry)
        self._answered = Counter("omnilmm_answer_tokens", "Tokens of answers that ended.", registry=registry)

    def watch(self, engine: Engine) -> None:
        """Adds what is read from the engine at the time of asking."""

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(name, what, registry=self._registry)

        gauge("omnilmm_queue_waiting", "Requests that wait.").set_function(lambda: engine.waiting)
        gauge("omnilmm_queue_limit", "Requests that may wait.").set(engine.limit)
        gauge("omnilmm_running", "Answers that are being made.").set_function(lambda: engine.running)
        gauge("omnilmm_model_loaded", "1 while the model is in memory.").set_function(
            lambda: engine.residence.state is ModelState.LOADED
        )
        if rss_bytes() is not None:  # which Linux alone tells
            gauge("omnilmm_resident_memory_bytes", "This process' resident memory.").set_function(
                lambda: rss_bytes() or 0
            )

    def request(self, endpoint: str | None, method: str, status: int, seconds: float) -> None:
        """A request that has ended. `endpoint`: the route's own path, as it is written in the code; None: no route."""
        self._requests.labels(endpoint or OTHER, method if method in METHODS else OTHER, str(status)).inc()
        self._request_s.labels(endpoint or OTHER).observe(seconds)

    def event(self, event: Event) -> None:
        """An event of an answer; only its end counts."""
        if isinstance(event, Failed):
            # by its client, who hears no more, or by the server's end
            cancelled = event.error.code == shutting_down().code
            self._answers.labels("cancelled" if cancelled else "failed").inc()
        if not isinstance(event, Finished):
            return
        timings = event.timings
        self._answers.labels(event.reason.value).inc()
        self._prompt.inc(timings.prompt_tokens)
        self._cached.inc(max(0, timings.prompt_tokens - timings.prefill_tokens))
        self._answered.inc(timings.new_tokens)
        phases = {"queue": event.queue_s, "load": event.load_s, "picture": event.vision_s,
                  "prompt": timings.prefill_s, "decode": timings.decode_s}  # fmt: skip
        for phase, seconds in phases.items():
            if seconds > 0 or phase not in ("load", "picture"):  # which most answers don't have
                self._phase_s.labels(phase).observe(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All of it, in the format that the Accept header asks for, and that format's content type. A header that can't
        be read asks for nothing."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # of a version that is none
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

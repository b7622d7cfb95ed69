"""The numbers for Prometheus, held against what the clients themselves were told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from omnilmm_lite.serve.errors import internal_error, shutting_down
from omnilmm_lite.serve.jobs import Failed
from omnilmm_lite.serve.metrics.metrics import Metrics
from tests.serve.serving import CHAT, PICTURES, WAIT_S, client, data_url, question

KEY = {"Authorization": "Bearer secret"}
Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    key: Path = tmp_path_factory.mktemp("key") / "key"
    key.write_text("secret\n", encoding="utf-8")
    with client("--model", "tiny", "--queue", "7", "--api-key-file", str(key)) as http:
        yield http


def numbers(text: str) -> Numbers:
    """By name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def now(http: httpx.Client) -> Numbers:
    response = http.get("/metrics", headers=KEY)
    assert response.headers["content-type"].startswith("text/plain; version=")
    return numbers(response.text)


def grown(before: Numbers, after: Numbers, name: str, **labels: str) -> float:
    key = (name, tuple(sorted(labels.items())))
    return after[key] - before.get(key, 0.0)


def test_an_answer_is_counted_as_its_client_was_told(http: httpx.Client) -> None:
    before = now(http)
    asked = [question("What is this?", data_url(PICTURES / "cat.png")), question("hi", max_tokens=1)]
    answers = [http.post(CHAT, json=each, headers=KEY).json() for each in asked]
    after = now(http)

    def total(field: str) -> int:
        return sum(answer["usage"][field] for answer in answers)

    cached = sum(answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers)
    assert grown(before, after, "omnilmm_prompt_tokens_total") == total("prompt_tokens")
    assert grown(before, after, "omnilmm_cached_prompt_tokens_total") == cached
    assert grown(before, after, "omnilmm_answer_tokens_total") == total("completion_tokens")
    assert grown(before, after, "omnilmm_answers_total", reason="stop") == 1
    assert grown(before, after, "omnilmm_answers_total", reason="length") == 1
    for phase, seconds in {
        "picture": "vision_s",
        "prompt": "prefill_s",
        "decode": "decode_s",
        "queue": "queue_s",
    }.items():
        spent = sum(answer["timings"][seconds] for answer in answers)
        assert grown(before, after, "omnilmm_phase_seconds_sum", phase=phase) == pytest.approx(spent, abs=1e-3)
        times = 1 if phase == "picture" else 2
        assert grown(before, after, "omnilmm_phase_seconds_count", phase=phase) == times
    assert ("omnilmm_phase_seconds_count", (("phase", "load"),)) not in after


def test_requests_are_counted_by_route_and_status(http: httpx.Client) -> None:
    before = now(http)
    http.post(CHAT, json=question("hi") | {"model": "another"}, headers=KEY)
    http.get("/v1/models/tiny", headers=KEY)
    http.post("/api/embed", json={}, headers=KEY)
    http.get("/v1/models", headers={"Authorization": "Bearer wrong"})
    for path in ("/v1/of-my-own", "/v1/of-another", "/nothing"):
        http.get(path, headers=KEY)
    http.request("FETCH", CHAT, headers=KEY)
    after = now(http)
    name = "omnilmm_requests_total"
    assert grown(before, after, name, endpoint=CHAT, method="POST", status="404") == 1
    assert grown(before, after, name, endpoint="/v1/models/{name:path}", method="GET", status="200") == 1
    assert grown(before, after, name, endpoint="/api/embed", method="POST", status="400") == 1
    assert grown(before, after, name, endpoint="other", method="GET", status="401") == 1
    assert grown(before, after, name, endpoint="other", method="GET", status="404") == 3
    assert grown(before, after, name, endpoint=CHAT, method="other", status="405") == 1
    assert not any("of-my-own" in value for _, labels in after for _, value in labels)
    assert grown(before, after, "omnilmm_request_seconds_count", endpoint="other") == 4


def test_a_client_that_leaves_is_counted_as_the_log_has_it(http: httpx.Client) -> None:
    before = now(http)
    endless = question("hi", temperature=5, max_tokens=1900, logit_bias={"2": -100}, stream=True)
    with http.stream("POST", CHAT, json=endless, headers=KEY) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                break
    left = ("omnilmm_requests_total", (("endpoint", CHAT), ("method", "POST"), ("status", "499")))
    ended = ("omnilmm_answers_total", (("reason", "cancelled"),))
    until = time.monotonic() + WAIT_S
    while any((after := now(http)).get(each, 0.0) == before.get(each, 0.0) for each in (left, ended)):
        assert time.monotonic() < until, after
        time.sleep(0.01)
    assert grown(before, after, "omnilmm_answers_total", reason="cancelled") == 1


def test_the_server_itself(http: httpx.Client) -> None:
    found, health = now(http), http.get("/health", headers=KEY).json()
    assert found["omnilmm_queue_limit", ()] == 7 and found["omnilmm_queue_waiting", ()] == 0
    assert found["omnilmm_running", ()] == 0 and found["omnilmm_model_loaded", ()] == 1
    if (rss := health["memory"]["rss_bytes"]) is not None:
        assert found["omnilmm_resident_memory_bytes", ()] == pytest.approx(rss, rel=0.2)
    # nothing of another library's
    assert all(name.startswith("omnilmm_") for name, _ in found)


def test_they_are_kept_by_the_key_and_come_in_the_format_that_is_asked_for(http: httpx.Client) -> None:
    assert http.get("/metrics").status_code == 401
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    response = http.get("/metrics", headers=KEY | accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(response.text)  # type: ignore[no-untyped-call]
    assert any(family.name == "omnilmm_requests" for family in families)


def test_failures_are_told_from_answers_that_were_broken_off() -> None:
    metrics = Metrics()
    for error in (internal_error(), internal_error(), shutting_down()):
        metrics.event(Failed(error))
    found = numbers(metrics.exposition("")[0].decode())
    assert found["omnilmm_answers_total", (("reason", "failed"),)] == 2
    assert found["omnilmm_answers_total", (("reason", "cancelled"),)] == 1


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=x", "text/plain; version=x;;,", ";;,"])
def test_a_header_that_cant_be_read_asks_for_nothing(accept: str) -> None:
    assert Metrics().exposition(accept)[1] == Metrics().exposition("")[1]

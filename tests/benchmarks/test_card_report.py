"""The report of `make check-card`, of results that were made up: what is judged, and what is never said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.card.report import tables
from benchmarks.card.report.goals import Goal, Verdict, judge
from benchmarks.card.report.report import Report
from benchmarks.card.result import Result
from benchmarks.card.run import Json
from benchmarks.card.stage import STAGES

ON_CARD = {
    "card": "NVIDIA GeForce RTX 4090, 24564 MiB, compute capability 8.9",
    "driver": "580.95",
    "device": "cuda",
    "size": "full",
    "onnxruntime": "onnxruntime-gpu 1.31.1",
}
ON_CPU = {"card": "none", "driver": "none", "device": "cpu", "size": "small", "onnxruntime": "onnxruntime 1.32.0"}


def product(name: str, us: float, **facts: Any) -> Json:
    row = {"product": name, "format": "4 bits, 128, zero points", "calls": 32, "rows": 1, "k": 4096, "n": 4096}
    row |= {"us": us, "best_us": us, "bytes": 8_000_000, "tflops": 1.0, "relative_error": 2e-4, "recorded": True}
    return row | {"error": None} | facts


def timed(what: str, seconds: float) -> Json:
    return {"what": what, "median_s": seconds, "best_s": seconds, "spread": 0.01}


def speed(*, recorded: bool, token: float) -> Json:
    """On 1000 GB/s a token's 3.94 GB take 3.94 ms at least."""
    rows = [timed("picture and question, first token", 0.25), timed("picture", 0.15), timed("prompt", 0.13)]
    bundle = {
        "bundle": "24gb",
        "load_s": 4.5,
        "first_token_after_load_s": 0.39,
        "bytes_per_token": 3_940_000_000,
        "rows": [*rows, timed("token", token)],
    }
    return {"bytes_per_s": 1e12, "recorded": recorded, "bundles": [bundle]}


def agreed(name: str, **facts: Any) -> Json:
    row = {"bundle": name, "recorded": False, "error": None, "worst_cosine": 0.9999, "prompts_kld": 1e-5}
    row |= {"steps_kld": 1e-5, "top1_agreement": 1.0, "answers": 6, "answers_equal": 6, "is_exact": False, "misses": []}
    return row | facts


def all_data() -> dict[str, Json]:
    kernel = {"kernel": "void gemv<half, 4>(int)", "runs": 128, "us": 3000.0}
    node = {"graph": "decoder", "nodes": 400, "elsewhere": 0, "names": []}
    fitted = {"bundle": "8gb", "card_gb": 8, "what": "one picture and one question", "planned": 1000, "peak": 1040}
    return {
        "environment": {
            "packages": [["nvidia-cudnn-cu13", "9.9"]],
            "providers": [{"device": "cuda", "works": True, "detail": "a graph was opened on it"}],
            "problems": [],
            "system": "Linux",
            "cores": 16,
            "memory_bytes": 64 << 30,
        },
        "tiny": {"rows": [agreed("24gb"), agreed("24gb", recorded=True)]},
        "products": {
            "bytes_per_s": 1e12,
            "rows": [product("qkv", 16.0), product("lm_head", 128.0, calls=1), product("tower qkv", 90.0, rows=1025)],
            "left_out": ["tower fc2, fp16"],
        },
        "build": {"rows": [{"bundle": "24gb", "layers": 32, "blocks": 63, "bytes": 13 * 10**9}], "log": ["all: 60 s"]},
        "speed": speed(recorded=False, token=0.006),
        "speed-recorded": speed(recorded=True, token=0.005),
        "width": {"rows": [agreed("12gb", error="cuda:0: the memory is full")]},
        "profile": {
            "nodes": [node],
            "operators": [{"graph": "decoder", "rows": [{"operator": "MatMulNBits", "runs": 128, "us": 900.0}]}],
            "kernels": [
                {"action": "token", "wall_us": 5000.0, "kernels_us": 4000.0, "launches": 400, "rows": [kernel]}
            ],
        },
        "turns": {
            "preset": "8gb",
            "before": 500 << 20,
            "warm_up": 2,
            "rows": [{"turn": n + 1, "in_use": (1000 + n) << 20, "seconds": 0.5} for n in range(50)],
        },
        "conversion": {
            "sequences": 128,
            "tokens": 512,
            "all_layers": 32,
            "hidden_size": 4096,
            "rows": [
                {"projection": f"layers.{n}.mlp.down_proj", "at_s": at, "error_to_rounding": 0.3}
                for n, at in enumerate((60.0, 105.0))
            ],
        },
        "fit": {"rows": [{**fitted, "error": None}, {**fitted, "bundle": "12gb", "card_gb": 12, "error": "no room"}]},
    }


def report(made_with: dict[str, str], data: dict[str, Json], **skipped: str) -> Report:
    results = {name: Result(name, made_with, "2026-12-01 10:00", 9.5, None, each) for name, each in data.items()}
    return Report(made_with, results, skipped)


def goal(goals: list[Goal], words: str) -> Goal:
    found = [each for each in goals if words in each.what]
    assert len(found) == 1, [each.what for each in goals]
    return found[0]


# ---- goals ----


def test_speed_is_held_against_the_goals() -> None:
    goals = report(ON_CARD, all_data()).goals
    plain, recorded = (goal(goals, f"24gb {how} CUDA graphs: a token's share") for how in ("without", "with"))
    assert (plain.found, plain.verdict) == ("66%", Verdict.MISSED)
    assert (recorded.found, recorded.verdict) == ("79%", Verdict.MET)
    tokens = goal(goals, "24gb with CUDA graphs: tokens a second")
    assert (tokens.found, tokens.wanted, tokens.verdict) == ("200", ">= 190", Verdict.MET)
    assert goal(goals, "24gb without CUDA graphs: tokens").verdict is Verdict.MISSED
    assert goal(goals, "24gb with CUDA graphs: a prompt of 316").verdict is Verdict.MISSED
    assert goal(goals, "24gb with CUDA graphs: a picture").verdict is Verdict.MET
    assert goal(goals, "24gb with CUDA graphs: the first token").verdict is Verdict.MET


def test_the_fastest_card_s_goals_are_its_own() -> None:
    goals = report({**ON_CARD, "card": "NVIDIA H200, 143771 MiB"}, all_data()).goals
    assert goal(goals, "24gb with CUDA graphs: tokens a second").verdict is Verdict.OPEN
    assert goal(goals, "24gb with CUDA graphs: a token's share").verdict is Verdict.MET


def test_memory_is_held_against_the_goals() -> None:
    goals = report(ON_CARD, all_data()).goals
    turns = goal(goals, "turns")
    assert (turns.found, turns.verdict) == ("47 MiB", Verdict.MISSED)  # from the third of fifty turns on, a MiB each
    fits = goal(goals, "8gb in what")
    assert (fits.found, fits.verdict) == ("0.00 GiB, +4.0% of the plan", Verdict.MET)
    assert goal(goals, "12gb in what").found == "no room"
    assert goal(goals, "decoder: nodes").verdict is Verdict.MET


@pytest.mark.parametrize("error", [4e-3, None])
def test_a_wrong_product_is_an_error(error: float | None) -> None:
    data = {"products": {"bytes_per_s": 1e12, "rows": [product("qkv", 1.0), product("o", 1.0, relative_error=error)]}}
    found = report(ON_CARD, data)
    assert goal(found.goals, "float64").verdict is Verdict.MISSED
    assert found.is_wrong


def test_slow_is_not_wrong() -> None:
    assert not report(ON_CARD, {"speed": speed(recorded=False, token=1.0)}).is_wrong
    assert report(ON_CARD, {"width": all_data()["width"]}).is_wrong
    assert report(ON_CARD, {"tiny": {"rows": [agreed("8gb", misses=["the worst cosine is 0.5"])]}}).is_wrong


def test_a_failed_stage_is_said() -> None:
    failed = Result("speed", ON_CARD, "2026-12-01 10:00", 80.0, "stopped at its limit of 80 s; its log is empty", {})
    found = Report(ON_CARD, {"speed": failed}, {"fit": "the budget had ended"})
    assert found.is_wrong
    text = found.markdown()
    assert "* speed: stopped at its limit of 80 s" in text
    assert "* fit: the budget had ended" in text
    assert "Not finished, after 80 s" in text


@pytest.mark.parametrize("made_with", [ON_CPU, {**ON_CPU, "size": "full"}, {**ON_CARD, "size": "small"}])
def test_speed_and_memory_are_judged_on_a_card_at_full_size(made_with: dict[str, str]) -> None:
    goals = report(made_with, all_data()).goals
    assert len(goals) == 3
    assert all(each.is_right for each in goals)


def test_without_a_card_nothing_is_said_of_one() -> None:
    text = report(ON_CPU, all_data(), fit="it needs a card").markdown()
    assert text.startswith("## The card's stages, tried on the CPU, 2026-12-01\n")
    assert "No card was used: every time and size below is this processor's" in text
    assert "RTX" not in text


# ---- the text ----


def test_the_report_is_a_section_for_the_docs() -> None:
    text = report(ON_CARD, all_data()).markdown()
    assert text.startswith("## Measured on NVIDIA GeForce RTX 4090, 2026-12-01\n")
    assert [line for line in text.splitlines() if line.startswith("# ")] == []
    for stage in STAGES:
        assert f"### {stage.title}\n" in text
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
    assert "\n\n\n" not in text
    for row in (
        "| driver | 580.95 |",
        "| 24gb, CUDA graph | 0.99990 | 1.0e-05 / 1.0e-05 | 100.0% | 6 of 6 | within rounding |",
        "| 12gb | failed |",
        "| qkv 4096 to 4096 | 4 bits, 128, zero points | 1 | 16 | 500 | 50% | 1 | 2.0e-04 |",
        "| `void gemv<half, 4>(int)` | 128 | 3,000 |",
        "| layer 2 | 45 |",
        "Extrapolated, not measured: 32 layers like the last one take 0.40 hours.",
        "* No time was left for: tower fc2, fp16.",
        "200.0 tokens a second at 400 tokens of context",
    ):
        assert row in text, row


def test_what_wasn_t_recorded_is_not_said_to_be() -> None:
    plain = {"speed-recorded": speed(recorded=False, token=0.2)}
    assert "Nothing was recorded: the CPU" in report(ON_CPU, plain).markdown()
    recorded = {"speed-recorded": speed(recorded=True, token=0.005)}
    assert "Nothing was recorded" not in report(ON_CARD, recorded).markdown()


def test_a_token_s_shares() -> None:
    """32 x 16 us and 1 x 128 us are 640 us; 33 x 8 MB at 1000 GB/s are 264 us."""
    rows = all_data()["products"]["rows"]
    lines = list(tables.token_shares([row for row in rows if row["rows"] == 1], 1e12))
    assert lines[0] == "Of a token's products, zero points (640 us together, 41% of the bandwidth):"
    assert "| qkv | 32 | 512 | 80% |" in lines
    assert "| lm_head | 1 | 128 | 20% |" in lines


def test_nothing_measured_is_no_error() -> None:
    empty = {stage.name: Json() for stage in STAGES}
    assert judge({}, ON_CARD) == []
    assert "### What is there" in report(ON_CARD, empty).markdown()


def test_json_has_all_of_it() -> None:
    found = json.loads(json.dumps(report(ON_CARD, all_data(), more="no time").to_dict(), allow_nan=False))
    assert found["made_with"] == ON_CARD
    assert found["skipped"] == {"more": "no time"}
    assert found["results"]["turns"]["data"]["rows"][49]["turn"] == 50
    assert {each["verdict"] for each in found["goals"]} == {"met", "missed"}

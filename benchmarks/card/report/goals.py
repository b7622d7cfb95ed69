"""What was to come out, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from benchmarks.card.result import Result
from benchmarks.card.run import Json

DECODE_SHARE = 0.75  # of what the bandwidth allows
# On an RTX 4090.
FASTEST_CARD = "RTX 4090"
TOKENS_PER_S, PROMPT_S, PICTURE_S, FIRST_TOKEN_S = 190.0, 0.12, 0.16, 0.4
# fp16's own rounding of the result is 2e-4; sums in fp16 over 14336 columns reach 1.4e-3.
PRODUCT_ERROR = 3e-3
DRIFT = 32 << 20  # bytes, of 48 turns: drivers hand memory out by 2 MiB
PLAN_ERROR = 0.05
# Of tower and resampler, onnxruntime keeps one that computes a shape on the CPU on purpose: docs/gpu.md.
ALLOWED_ELSEWHERE = {"tower": 1, "resampler": 1, "decoder": 0}


class Verdict(Enum):
    MET = "met"
    MISSED = "missed"
    OPEN = "not judged"


@dataclass(frozen=True)
class Goal:
    """`is_right`: it is about right and wrong, not about fast and slow."""

    what: str
    wanted: str
    found: str
    verdict: Verdict
    is_right: bool = False


def judge(results: Mapping[str, Result], made_with: Mapping[str, str]) -> list[Goal]:
    """A row a goal. Speed and memory are judged on a card at full size alone, some of it on an RTX 4090 alone."""
    data = {name: each.data for name, each in results.items()}
    goals = [*_agreement(data), *_products(data)]
    if made_with["device"] != "cuda" or made_with["size"] != "full":
        return goals
    goals += [*_nodes(data), *_turns(data), *_fit(data)]
    for stage in ("speed", "speed-recorded"):
        if stage in data:
            goals += _speed(data[stage], FASTEST_CARD in made_with["card"])
    return goals


def _verdict(holds: bool) -> Verdict:
    return Verdict.MET if holds else Verdict.MISSED


def _agreement(data: Mapping[str, Json]) -> Iterator[Goal]:
    for stage, what in (("tiny", "the built-in model"), ("width", "two layers and two blocks of full width")):
        rows = data.get(stage, {}).get("rows", [])
        if not rows:
            continue
        good = [row for row in rows if row["error"] is None and not row["misses"]]
        found = f"{len(good)} of {len(rows)} bundles"
        yield Goal(f"{what}: the same as on the CPU", "all", found, _verdict(len(good) == len(rows)), is_right=True)


def _products(data: Mapping[str, Json]) -> Iterator[Goal]:
    rows = data.get("products", {}).get("rows", [])
    if not rows:
        return
    errors = [row["relative_error"] for row in rows if row["error"] is None]
    finite = [error for error in errors if error is not None]
    found = f"{max(finite, default=0):.1e}"
    if wrong := len(rows) - len(finite):
        found += f", and {wrong} of {len(rows)} failed or are not finite"
    holds = not wrong and max(finite) <= PRODUCT_ERROR
    yield Goal("each product's error against float64", f"<= {PRODUCT_ERROR:.0e}", found, _verdict(holds), is_right=True)


def _nodes(data: Mapping[str, Json]) -> Iterator[Goal]:
    for row in data.get("profile", {}).get("nodes", []):
        allowed = ALLOWED_ELSEWHERE[row["graph"]]
        verdict = _verdict(row["elsewhere"] <= allowed)
        yield Goal(f"{row['graph']}: nodes that ran on the CPU", f"<= {allowed}", str(row["elsewhere"]), verdict)


def _turns(data: Mapping[str, Json]) -> Iterator[Goal]:
    found = data.get("turns", {})
    if len(found.get("rows", [])) <= found.get("warm_up", 0) + 1:
        return
    growth = drift(found)
    wanted = f"<= {DRIFT / 2**20:.0f} MiB"
    name = f"what {len(found['rows'])} turns of tower and decoder add to the memory"
    yield Goal(name, wanted, f"{growth / 2**20:.0f} MiB", _verdict(growth <= DRIFT))


def drift(turns: Json) -> int:
    """Bytes by which the memory in use grew from the end of the warm-up to the last turn."""
    rows = turns["rows"]
    return int(rows[-1]["in_use"]) - int(rows[turns["warm_up"]]["in_use"])


def _fit(data: Mapping[str, Json]) -> Iterator[Goal]:
    for row in data.get("fit", {}).get("rows", []):
        name = f"{row['bundle']} in what a card of {row['card_gb']} GB leaves"
        if row["error"] is not None:
            yield Goal(name, "it fits", row["error"], Verdict.MISSED)
            continue
        name += f": {row['what']}"
        off = row["peak"] / row["planned"] - 1
        wanted, verdict = f"plan within {PLAN_ERROR:.0%}", _verdict(abs(off) <= PLAN_ERROR)
        yield Goal(name, wanted, f"{row['peak'] / 2**30:.2f} GiB, {off:+.1%} of the plan", verdict)


def _speed(data: Json, is_fastest: bool) -> Iterator[Goal]:
    how = "with CUDA graphs" if data.get("recorded") else "without CUDA graphs"
    for bundle in data.get("bundles", []):
        times = {row["what"]: row["median_s"] for row in bundle["rows"]}
        name = f"{bundle['bundle']} {how}"
        share = bundle["bytes_per_token"] / data["bytes_per_s"] / times["token"]
        holds = _verdict(share >= DECODE_SHARE)
        yield Goal(f"{name}: a token's share of the bandwidth", f">= {DECODE_SHARE:.0%}", f"{share:.0%}", holds)

        def on_fastest(what: str, wanted: str, found: str, holds: bool, name: str = name) -> Goal:
            verdict = _verdict(holds) if is_fastest else Verdict.OPEN
            return Goal(f"{name}: {what}, on an {FASTEST_CARD}", wanted, found, verdict)

        rate = 1 / times["token"]
        yield on_fastest("tokens a second", f">= {TOKENS_PER_S:.0f}", f"{rate:.0f}", rate >= TOKENS_PER_S)
        for what, limit, took in (
            ("a prompt of 316", PROMPT_S, times["prompt"]),
            ("a picture", PICTURE_S, times["picture"]),
            ("the first token after load", FIRST_TOKEN_S, bundle["first_token_after_load_s"]),
        ):
            yield on_fastest(what, f"<= {limit * 1e3:.0f} ms", f"{took * 1e3:.0f} ms", took <= limit)

"""What was found, as the tables of docs/performance.md. A stage that wasn't run leaves its rows out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.peers.report import Line, markdown
from benchmarks.peers.task import Task
from benchmarks.real.settings import Settings
from benchmarks.real.stages import MEASURED, PRESETS

Json = dict[str, Any]
Results = Mapping[str, Json]  # by the stages' names

GB = 1e9
NONE = "-"
LEFT_OUT = 1.0  # seconds: a conversion's stage that took less is one of "the rest"
NOT_CONVERSIONS = {"checkpoint": "synthetic checkpoint", "gptq": "decoder, rounded", "gguf": "llama.cpp's file",
                   "openvino": "OpenVINO's files"}  # fmt: skip


def report(results: Results, settings: Settings) -> str:
    """All tables that there are results for, in markdown."""
    sections = {
        "Measured on": machine(results, settings),
        "Making it": making(results),
        "Conversion by stage": stages(results),
        "Speed": speed(results),
        "Memory by stage": memory(results),
        "Planned and measured": planned(results),
        "Against others": peers(results),
    }
    return "\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Figures to the right; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


# ---- each table ----


def machine(results: Results, settings: Settings) -> str:
    found = next((bench for bench in benches(results).values()), None)
    size = f"{settings.blocks} tower blocks and {settings.layers} decoder layers of OmniLMM-12B's width, random weights"
    if found is None:
        return f"{size}.\n"
    about, subject = found["machine"], found["subject"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    memory = "unknown" if about["memory_bytes"] is None else f"{about['memory_bytes'] / GB:.1f} GB"
    threads = subject["threads"] or "onnxruntime's choice of"
    return (
        f"{size}. {about['cpu']}, {about['physical_cores']} cores ({about['logical_cores']} logical), "
        f"{' '.join(about['flags'])}; memory {memory}; {about['system']}; {versions}; {threads} threads. "
        f"Medians of {found['repeat']} runs.\n"
    )


def making(results: Results) -> str:
    rows = []
    for name, what in NOT_CONVERSIONS.items():
        if name in results:
            rows.append([what, *_cost(results[name])])
    rows += [[f"`convert --preset {name}`", *_cost(found)] for name, found in conversions(results).items()]
    if rows and (works := [found["work_bytes"] for found in conversions(results).values()]):
        rows.append(["the conversions' work folder", NONE, NONE, gb(max(works))])
    return table(["", "time", "peak RSS, GB", "on disk, GB"], rows)


def stages(results: Results) -> str:
    """A column a preset; the work folder of one int8 tower serves the next."""
    found = conversions(results)
    names = dict.fromkeys(name for each in found.values() for name, took in each["stages"].items() if took >= LEFT_OUT)
    rows = [[name, *(_stage(each, name) for each in found.values())] for name in names]
    rest = [each["seconds"] - sum(each["stages"].get(name, 0.0) for name in names) for each in found.values()]
    if found:
        rows.append(["the rest", *(f"{seconds:.1f}" for seconds in rest)])
    return table(["stage, s", *found], rows)


def speed(results: Results) -> str:
    found = benches(results)
    rows: dict[str, dict[str, str]] = {}
    for preset, bench in found.items():
        for name, text in _speeds(bench):
            rows.setdefault(name, {})[preset] = text
    return table(["", *found], [[name, *(cells.get(preset, NONE) for preset in found)] for name, cells in rows.items()])


def memory(results: Results) -> str:
    rows = [
        [preset, each["stage"], *(gb(each[kind]) for kind in ("rss", "anonymous", "file_backed", "peak"))]
        for preset, bench in benches(results).items()
        for each in bench["memory"]
    ]
    return table(["preset", "after", "resident, GB", "anonymous", "file-backed", "peak"], rows)


def planned(results: Results) -> str:
    rows = [
        [each.preset, each.what, gb(each.planned), gb(each.measured), f"{each.measured / each.planned:.3f}"]
        for each in comparisons(results)
    ]
    return table(["preset", "", "planned, GB", "measured, GB", "measured by planned"], rows)


def peers(results: Results) -> str:
    if "peers" not in results:
        return "Not run.\n"
    found = results["peers"]
    lines = [Line(**line) for line in found["summary"]]
    return markdown(lines, Task(**found["task"]), len(found["rounds"]), found["processor"])


# ---- plan against measured ----


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Bytes that `plan` said of the checkpoint before anything was converted, and those that it came to."""

    preset: str
    what: str
    planned: int
    measured: int


def comparisons(results: Results) -> Iterator[Comparison]:
    for preset in PRESETS:
        plans, made = results.get(f"plan-{preset}"), results.get(f"convert-{preset}")
        if plans is None or made is None:
            continue
        plan = plans["checkpoint"]
        yield Comparison(preset, "bundle on disk", plan["disk_total"], made["bytes"])
        if run := results.get(f"run-{preset}"):
            yield Comparison(preset, "peak, one question", plan["host_total"], run["peak_rss_bytes"])
        if bench := results.get(f"bench-{preset}"):
            most = plan["host_total"] + plan["device_most"] - plan["device_total"]
            yield Comparison(preset, "peak, the whole bench", most, bench["bench"]["peak_rss_bytes"])


# ---- helpers ----


def benches(results: Results) -> dict[str, Json]:
    return {name: results[f"bench-{name}"]["bench"] for name in MEASURED if f"bench-{name}" in results}


def conversions(results: Results) -> dict[str, Json]:
    return {name: results[f"convert-{name}"] for name in PRESETS if f"convert-{name}" in results}


def gb(size: int) -> str:
    return f"{size / GB:.2f}"


def duration(seconds: float) -> str:
    """Minutes and seconds; below a minute, three digits."""
    return f"{seconds:.3g} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _cost(found: Json) -> tuple[str, str, str]:
    took = duration(found["seconds"])
    if found.get("resumed"):
        took += ", the last part of an interrupted run"
    return took, gb(found["peak_rss_bytes"]), gb(found["bytes"])


def _stage(conversion: Json, name: str) -> str:
    took = conversion["stages"].get(name)
    return NONE if took is None else f"{took:.1f}"


def _speeds(bench: Json) -> Iterator[tuple[str, str]]:
    """A bench's rows: the median, and the best in brackets."""
    yield "load", _seconds(bench["load"]["load"])
    yield "load and first steps", _seconds(bench["load"]["ready"])
    yield "first picture, the tower's loading included", f"{bench['picture']['first_s']:.2f} s, once"
    yield "picture", _seconds(bench["picture"]["series"])
    for row in bench["prefill"]:
        yield f"prefill of {row['tokens']} tokens", f"{_seconds(row['series'])}: {row['tokens_per_s']:.1f} tok/s"
    for row in bench["decode"]:
        floor = "" if row["floor"] is None else f", {row['floor']:.0%} of what memory allows"
        yield f"decode at {row['context']} tokens of context", f"{row['tokens_per_s']:.2f} tok/s{floor}"
    for key, name in (("first_question", "picture and question"), ("second_question", "second question")):
        if question := bench[key]:
            tokens = f"{question['prefill_tokens']} tokens"
            yield f"{name}: first token", f"{_seconds(question['total'])}, {tokens}"
    if bench["bandwidth"]:
        yield "memory read at", f"{bench['bandwidth']['bytes_per_s'] / GB:.1f} GB/s"


def _seconds(series: Json) -> str:
    return f"{series['median_s']:.2f} s ({series['min_s']:.2f})"

"""The stages' tables, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from benchmarks.card.report.goals import drift
from benchmarks.card.run import Json

Lines = Iterator[str]
MIB, GB = 1 << 20, 1e9
TOWER = "tower"  # how the names of its products begin


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Lines:
    """A Markdown table; nothing where there are no rows."""
    if not rows:
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
    yield ""


def shown(value: float | None, digits: int = 3, scale: float = 1.0) -> str:
    """So many significant digits, without an exponent; what wasn't finite is said."""
    if value is None:
        return "not finite"
    rounded = float(f"{value * scale:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"


def environment(data: Json) -> Lines:
    rows = [(each["device"], "works" if each["works"] else "no", each["detail"]) for each in data.get("providers", [])]
    yield from table(("device", "a session there", "what it says"), rows)
    for problem in data.get("problems", []):
        yield f"* Problem: {problem}"
    if data.get("problems"):
        yield ""
    if "system" in data:
        yield f"{data['system']}, {data['cores']} cores, {data['memory_bytes'] / 2**30:.0f} GiB."
        yield ""
    yield from table(("package", "version"), data.get("packages", []))


def agreement(data: Json) -> Lines:
    rows = []
    for row in data.get("rows", []):
        name = f"{row['bundle']}{', CUDA graph' if row['recorded'] else ''}"
        if row["error"] is not None:
            rows.append((name, "failed", "", "", "", row["error"]))
            continue
        worst = "" if row["worst_cosine"] is None else f"{row['worst_cosine']:.5f}"
        klds = f"{row['prompts_kld']:.1e} / {row['steps_kld']:.1e}"
        equal = f"{row['answers_equal']} of {row['answers']}"
        said = "exact" if row["is_exact"] else "; ".join(row["misses"]) or "within rounding"
        rows.append((name, worst, klds, f"{row['top1_agreement']:.1%}", equal, said))
    heads = ("bundle", "worst cosine", "KLD: prompts / steps", "same top token", "equal answers", "verdict")
    yield from table(heads, rows)


def products(data: Json) -> Lines:
    if "bytes_per_s" not in data:
        return
    copied = shown(data["bytes_per_s"], 4, 1 / GB)
    yield f"A copy on the device moves {copied} GB/s, read and written; shares are of that."
    yield ""
    good = [row for row in data["rows"] if row["error"] is None]
    any_recorded = any(row["recorded"] for row in good)
    if not any_recorded:
        yield "Launched one by one: nothing was recorded as a CUDA graph."
        yield ""
    cells = []
    for row in good:
        speed = row["bytes"] / (row["us"] * 1e-6)
        share = f"{speed / data['bytes_per_s']:.0%}" if row["rows"] == 1 else ""
        launched = "" if row["recorded"] or not any_recorded else " (not recorded)"
        where = f"{row['product']} {row['k']} to {row['n']}"
        error = "not finite" if row["relative_error"] is None else f"{row['relative_error']:.1e}"
        each = (shown(row["us"]) + launched, shown(speed, 3, 1 / GB), share, shown(row["tflops"]), error)
        cells.append((where, row["format"], row["rows"], *each))
    heads = ("product", "weights", "rows", "us", "GB/s of weights", "share", "TFLOP/s", "error")
    yield from table(heads, cells)
    yield from token_shares(good, data["bytes_per_s"])
    for row in data["rows"]:
        if row["error"] is not None:
            yield f"* {row['product']}, {row['format']}: failed: {row['error']}"
    if data.get("left_out"):
        yield f"* No time was left for: {'; '.join(data['left_out'])}."
    yield ""


def token_shares(rows: Sequence[Json], bytes_per_s: float) -> Lines:
    """What each product of one row is of a token, format by format; attention and norms are not in it."""
    formats: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        if row["rows"] == 1 and row["calls"] and not row["product"].startswith(TOWER):
            formats["fpA_intB" if "fpA_intB" in row["format"] else "zero points"].append(row)
    for kind, found in formats.items():
        heads_of = [row for row in found if row["calls"] == 1]
        found = [row for row in found if row["calls"] > 1] + heads_of[-1:]  # one last layer: the 8-bit one
        total = sum(row["calls"] * row["us"] for row in found)
        floor = sum(row["calls"] * row["bytes"] for row in found) / bytes_per_s * 1e6
        cells = [
            (row["product"], row["calls"], shown(row["calls"] * row["us"]), f"{row['calls'] * row['us'] / total:.0%}")
            for row in found
        ]
        yield f"Of a token's products, {kind} ({shown(total)} us together, {floor / total:.0%} of the bandwidth):"
        yield ""
        yield from table(("product", "times", "us a token", "share of the products"), cells)


def build(data: Json) -> Lines:
    rows = [(row["bundle"], row["layers"], row["blocks"], f"{row['bytes'] / GB:.2f}") for row in data.get("rows", [])]
    yield from table(("bundle", "layers", "blocks", "GB"), rows)
    if data.get("log"):
        yield f"Random weights; the build's last line: {data['log'][-1]}"
        yield ""


def speed(data: Json) -> Lines:
    for bundle in data.get("bundles", []):
        cells = [("load", shown(bundle["load_s"], 3, 1e3), "", "")]
        cells.append(
            ("first token after load, with a picture", shown(bundle["first_token_after_load_s"], 3, 1e3), "", "")
        )
        for row in bundle["rows"]:
            times = (shown(row["median_s"], 3, 1e3), shown(row["best_s"], 3, 1e3), f"{row['spread']:.0%}")
            cells.append((row["what"], *times))
        yield f"{bundle['bundle']}{', CUDA graphs' if data['recorded'] else ''}:"
        yield ""
        yield from table(("what", "ms, median", "best", "spread"), cells)
        token = next(row["median_s"] for row in bundle["rows"] if row["what"] == "token")
        floor = bundle["bytes_per_token"] / data["bytes_per_s"]
        yield (
            f"{1 / token:.1f} tokens a second at 400 tokens of context; a token reads "
            f"{bundle['bytes_per_token'] / GB:.2f} GB, {floor / token:.0%} of the bandwidth of a copy "
            f"({shown(data['bytes_per_s'], 4, 1 / GB)} GB/s)."
        )
        yield ""


def speed_recorded(data: Json) -> Lines:
    if data.get("bundles") and not data["recorded"]:
        yield "Nothing was recorded: the CPU has no such thing, and did the same as before."
        yield ""
    yield from speed(data)


def profile(data: Json) -> Lines:
    rows = [(row["graph"], row["nodes"], row["elsewhere"], ", ".join(row["names"])) for row in data.get("nodes", [])]
    yield from table(("graph", "nodes", "not on the device", "which"), rows)
    for action in data.get("kernels", []):
        if not action["rows"]:
            yield f"* {action['action']}: {shown(action['wall_us'])} us; torch saw no kernels here."
            continue
        yield (
            f"{action['action']}: {shown(action['wall_us'])} us, of which {shown(action['kernels_us'])} us in "
            f"{action['launches']} kernels and copies."
        )
        yield ""
        cells = [(f"`{each['kernel']}`", each["runs"], shown(each["us"])) for each in action["rows"]]
        yield from table(("kernel", "runs", "us"), cells)
    yield ""
    for graph in data.get("operators", []):
        yield f"{graph['graph']}, by onnxruntime's record (on a card: launches, not kernels):"
        yield ""
        cells = [(each["operator"], each["runs"], shown(each["us"])) for each in graph["rows"]]
        yield from table(("operator", "runs", "us"), cells)


def turns(data: Json) -> Lines:
    rows = data.get("rows", [])
    if not rows:
        return
    marks = sorted({0, min(data["warm_up"], len(rows) - 1), len(rows) // 2, len(rows) - 1})
    cells = [(rows[at]["turn"], f"{rows[at]['in_use'] / MIB:.0f}", shown(rows[at]["seconds"])) for at in marks]
    yield from table(("turn", "MiB in use", "seconds"), [("before", f"{data['before'] / MIB:.0f}", ""), *cells])
    if len(rows) > data["warm_up"] + 1:
        yield f"{data['preset']}, two layers and two blocks: {drift(data) / MIB:+.0f} MiB in {len(rows)} turns."
        yield ""


def conversion(data: Json) -> Lines:
    rows = data.get("rows", [])
    if not rows:
        return
    done = [row["at_s"] for row in rows if row["projection"].endswith("down_proj")]
    steps = [end - start for start, end in zip([0.0, *done], done, strict=False)]
    cells = [(f"layer {number}", shown(step)) for number, step in enumerate(steps, start=1)]
    yield from table(("quantized", "seconds"), cells)
    calibration = f"{data['sequences']} sequences of {data['tokens']} tokens"
    yield f"{calibration}, hidden size {data['hidden_size']}; random weights."
    if not steps:
        yield f"No layer was finished; {rows[-1]['projection']} was, after {shown(rows[-1]['at_s'])} s."
    elif data["hidden_size"] == 4096:
        hours = steps[-1] * data["all_layers"] / 3600
        yield f"Extrapolated, not measured: {data['all_layers']} layers like the last one take {hours:.2f} hours."
    yield ""


def fit(data: Json) -> Lines:
    cells = []
    for row in data.get("rows", []):
        name = (row["bundle"], f"{row['card_gb']} GB")
        if row["error"] is not None:
            cells.append((*name, row["error"], "", "", ""))
            continue
        peak, planned = (row[key] and f"{row[key] / MIB:,.0f}" for key in ("peak", "planned"))
        off = f"{row['peak'] / row['planned'] - 1:+.1%}" if planned else ""
        cells.append((*name, row["what"], planned or "no plan", peak, off))
    yield from table(("bundle", "card of", "what was done", "planned MiB", "peak MiB", "off by"), cells)


RENDERERS: dict[str, Callable[[Json], Lines]] = {
    "environment": environment,
    "tiny": agreement,
    "products": products,
    "build": build,
    "speed": speed,
    "speed-recorded": speed_recorded,
    "width": agreement,
    "profile": profile,
    "turns": turns,
    "conversion": conversion,
    "fit": fit,
}

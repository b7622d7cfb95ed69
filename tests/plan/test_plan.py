"""`plan`: totals, verdicts, what it takes and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import cli
from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.plan.memory import MemoryPhase, Plan, make_plan
from omnilmm_lite.plan.planned_model import KNOWN, PlannedModel
from omnilmm_lite.plan.show import BAR_WIDTH, draw_bar, markdown
from omnilmm_lite.plan.verdict import GIB, SIZES, Verdict, judge, suited, usable_bytes
from tests.paths import ROOT
from tests.small_checkpoint import TINY, Form, config_json, write_checkpoint, write_json

PUBLISHED = "openbmb/OmniLMM-12B"


def planned(preset: str, context: int = 4096) -> Plan:
    return make_plan(PlannedModel.planned(PUBLISHED, OmniLMMConfig(), PRESETS[preset]), context)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert cli.main(["plan", *argv, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["plan", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


# ---- the numbers ----


@pytest.mark.parametrize("preset", PRESETS)
def test_json_keeps_its_contract_and_adds_up(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, PUBLISHED, "--preset", preset)
    parts = found["parts"]
    assert set(parts) == {"vision", "resampler", "decoder", "embeddings", "kv_cache", "workspace"}
    assert all(isinstance(size, int) and size > 0 for size in parts.values())
    assert parts["embeddings"] == 128 + 32009 * 4096 * (4 if preset == "reference" else 2)
    assert set(found["verdicts"]) == {"24", "16", "12", "8"}
    totals = [phase["total"] for phase in found["phases"].values()]
    assert found["device_total"] == max(totals)
    shared = PRESETS[preset].time_shared
    assert len(totals) == (2 if shared else 1)
    if not shared:
        assert found["device_total"] == sum(parts.values()) - parts["embeddings"]
    assert found["disk_total"] > sum(found["disk"]["data"].values())
    for size, verdict in found["verdicts"].items():
        needed = found["host_total" if found["target"] == "cpu" else "device_total"]
        assert verdict["spare"] == verdict["usable"] - needed, size
        assert verdict["fits"] == (verdict["spare"] >= 0)


def test_cache_grows_with_the_context_in_the_decoders_format() -> None:
    for preset, item in (("cpu", 4), ("24gb", 2)):
        for context in (1024, 4096):
            assert planned(preset, context).part("kv_cache") == 2 * 32 * 8 * 128 * context * item


def test_goals_of_the_presets_are_within_reach() -> None:
    """docs/performance.md's goals for the CPU, and what the cards' presets are called after."""
    assert planned("cpu").host_total < 14e9
    assert planned("cpu-small").host_total < 9.5e9
    for size in SIZES:
        assert judge(planned(f"{size}gb"), size).fits


def test_resident_memory_measured_on_graphs_of_full_width() -> None:
    """Two blocks and two layers with the preset cpu, one picture, 369 tokens of prompt: 1356.2 MiB at the peak with
    4096 tokens of context and 1281.1 with 1024, measured with onnxruntime 1.32.0. Single layers are measured too: 124.5
    MiB a 4-bit layer. See docs/memory.md."""
    config = OmniLMMConfig()
    slim = dataclasses.replace(
        config,
        vision=dataclasses.replace(config.vision, num_hidden_layers=2),
        decoder=dataclasses.replace(config.decoder, num_hidden_layers=2),
    )
    for context, measured in ((4096, 1356.2), (1024, 1281.1)):
        plan = make_plan(PlannedModel.planned("slim", slim, PRESETS["cpu"]), context)
        assert plan.host_total / 2**20 == pytest.approx(measured, rel=0.05)


def test_longer_prompts_never_take_less() -> None:
    for preset in PRESETS:
        for context in (64, 512, 4096, 32768):
            plan = planned(preset, context)
            assert plan.device_most >= plan.device_total
            assert plan.device_total >= planned(preset, context // 2).device_total


# ---- packings ----


def test_packing_for_fast_kernels_holds_all_weights_twice_while_it_loads() -> None:
    """At that time there is no tower on the card: with 24gb the peak comes later, with 8gb not."""
    for name, peak in (("24gb", "all"), ("12gb", "all"), ("8gb", "answer")):
        preset = PRESETS[name].packed(Packing.FPA_INTB)
        plan = make_plan(PlannedModel.planned(PUBLISHED, OmniLMMConfig(), preset), 4096)
        assert plan.largest.name == peak
        loading = next(phase for phase in plan.phases if phase.name in ("load", "answer"))
        assert loading.vision == loading.resampler == 0
        assert loading.workspace > loading.decoder > 4e9
    assert not judge(plan, 8).fits
    assert "--preset 8gb without --packing" in judge(plan, 8).text
    assert judge(plan, 12).fits


def test_a_packing_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    usual, fast = (printed(capsys, PUBLISHED, "--preset", "16gb", *more) for more in ((), ("--packing", "fpa-intb")))
    assert fast["disk"]["data"]["decoder"] / usual["disk"]["data"]["decoder"] == pytest.approx(1.081, abs=1e-3)
    assert list(fast["phases"]) == ["load", "all"]
    assert cli.main(["plan", PUBLISHED, "--packing", "fpa-intb"]) == 0
    assert "cpu-small" in capsys.readouterr().out


def test_a_packing_that_can_not_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = refused(capsys, PUBLISHED, "--preset", "cpu", "--packing", "fpa-intb")
    assert "--packing fpa-intb: the preset cpu is for the CPU" in refusal
    assert "24gb, 16gb, 12gb, 8gb" in refusal
    assert "tiny is packed already" in refused(capsys, "tiny", "--packing", "fpa-intb")


# ---- verdicts ----


def test_a_card_is_not_usable_to_its_last_byte() -> None:
    assert usable_bytes(24, Device.CUDA) / GIB == pytest.approx(22.8)
    assert usable_bytes(16, Device.CPU) == 14 * GIB
    assert usable_bytes(1, Device.CPU) == 0


def test_a_verdict_says_what_to_change() -> None:
    verdict = judge(planned("16gb"), 12)
    assert not verdict.fits
    assert verdict.text == f"doesn't fit: {-verdict.spare / GIB:.1f} GiB too much; take --preset 12gb"
    assert judge(planned("12gb", 4096), 12).advice == ""
    long = judge(planned("8gb", 32768), 8)
    assert "--context" in long.text
    context = int(long.text.split("--context ")[1].split()[0])
    assert judge(planned("8gb", context), 8).fits
    assert not judge(planned("8gb", 2 * context), 8).fits
    assert "cpu" in judge(planned("8gb"), 4).text
    tight = planned("cpu-small", 4096)
    size = (tight.needed + 2 * GIB) / GIB + 0.01
    assert judge(tight, size).fits
    assert "more" in judge(tight, size).text


def test_the_best_preset_that_fits_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, PUBLISHED)["preset"] == "cpu"
    assert printed(capsys, PUBLISHED, "--vram", "24")["preset"] == "24gb"
    found = printed(capsys, PUBLISHED, "--vram", "10")
    assert found["preset"] == "12gb"
    assert "10" in found["verdicts"]
    assert printed(capsys, PUBLISHED, "--vram", "2")["preset"] == "cpu"
    assert suited([planned("cpu")], 1000) is None


# ---- what it takes ----


def test_published_names_need_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [printed(capsys, name, "--preset", "12gb") for name in KNOWN]
    assert sizes[0]["model"] == PUBLISHED
    assert len({json.dumps(each["parts"]) for each in sizes}) == 1


def test_config_json_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "config.json", config_json(OmniLMMConfig(), Form.BIN))
    assert printed(capsys, str(tmp_path))["parts"] == printed(capsys, PUBLISHED)["parts"]


def test_weights_that_are_there_say_the_towers_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", size=TINY, form=Form.SAFETENSORS)
    expected = make_plan(PlannedModel.planned("checkpoint", TINY, PRESETS["24gb"]), 4096)
    assert printed(capsys, str(folder), "--preset", "24gb")["parts"]["vision"] == expected.part("vision")


def test_an_unfinished_download_is_planned_by_its_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "config.json", config_json(OmniLMMConfig(), Form.BIN))
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    assert cli.main(["plan", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["disk"]["checkpoint"] == 23_231_931_904
    assert "config.json alone" in captured.err


def test_a_bundle_is_planned_from_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.find(None)
    sizes = {entry.path: entry.size for entry in bundle.manifest.files}
    for found in (printed(capsys, "tiny"), printed(capsys, str(BUILTIN / BUILTIN_NAME), "--context", "2048")):
        assert found["preset"] == bundle.manifest.preset
        assert found["disk"]["data"]["vision"] == sizes["vision.onnx.data"]
        assert found["disk_total"] == sum(path.stat().st_size for path in bundle.folder.iterdir())
        assert found["parts"]["embeddings"] == sizes["embeddings.npy"]


def test_another_preset_of_a_bundle_is_planned_from_its_config(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "tiny", "--preset", "24gb")
    expected = make_plan(PlannedModel.planned("tiny", Bundle.find(None).manifest.config, PRESETS["24gb"]), 2048)
    assert found["device_total"] == expected.device_total


# ---- what it shows ----


def test_people_see_bars_figures_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", PUBLISHED, "--vram", "8"]) == 0
    text = capsys.readouterr().out
    assert "while a picture is read" in text
    assert "computed" in text
    assert "never measured" in text
    for size in SIZES:
        assert f"{size:3} GB of graphics memory: " in text
    for preset in PRESETS:
        assert preset in text


def test_a_bar_is_as_long_as_its_parts() -> None:
    phase = MemoryPhase("all", vision=GIB, decoder=2 * GIB)
    bar = draw_bar(phase, usable=5 * GIB, scale=6 * GIB).plain
    assert bar == "V" * (BAR_WIDTH // 6) + "D" * (BAR_WIDTH // 3) + "·" * (BAR_WIDTH // 3)
    assert draw_bar(phase, usable=GIB, scale=3 * GIB).plain.count("·") == 0


def test_the_docs_have_the_table_that_plan_makes() -> None:
    plans = [planned(preset) for preset in PRESETS]
    page = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    assert markdown(plans) in page


# ---- refusals ----


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "openbmb/OmniLMM-12B, openbmb/RLAIF-V-12B" in refused(capsys, "openbmb/OmniLMM-13B")
    assert "config.json" in refused(capsys, str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert "OmniLMM" in refused(capsys, str(tmp_path))
    assert "choose one of" in refused(capsys, PUBLISHED, "--preset", "tpu")
    assert "1 to 32768" in refused(capsys, PUBLISHED, "--context", "0")
    for size in ("0", "-3", "nan", "inf"):
        assert "--vram" in refused(capsys, PUBLISHED, f"--vram={size}")
    refused(capsys, "x" * 5000)
    refused(capsys, "a\0b")


def test_a_graph_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(BUILTIN / BUILTIN_NAME, tmp_path / "bundle")
    graph = tmp_path / "bundle" / "resampler.onnx"
    graph.write_bytes(b"\0" * graph.stat().st_size)
    assert "resampler.onnx" in refused(capsys, str(tmp_path / "bundle"))


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
def test_a_byte_too_much_does_not_fit(spare: int, fits: bool) -> None:
    assert Verdict(size=8, usable=100, spare=spare, advice="").fits is fits

"""`make bench-real`: what is run, kept, skipped and refused, and what is made of the results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.real import __main__ as program
from benchmarks.real import child, room, stages, tables
from benchmarks.real.settings import Run, Settings, claim
from benchmarks.real.stages import Json, Show, Stage
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.durable_file import write_json
from tests.paths import ROOT

GB = 1e9


def silent(line: str) -> None: ...


# ---- a child process ----


def test_a_stage_lasts_until_the_next() -> None:
    lines = [(1.0, "a warning"), (2.0, "weights (9 steps)"), (5.0, "a note"), (6.5, "hashes (2 steps)")]
    assert child.stage_seconds(lines, 7.0) == {"weights": 4.5, "hashes": 0.5}
    assert child.stage_seconds([*lines, (7.0, "weights (3 steps)")], 8.0) == {"weights": 5.5, "hashes": 0.5}
    assert child.stage_seconds([(1.0, "calibration, which needs 2.0 GB in /a/b (3 steps)")], 3.0) == {
        "calibration": 2.0
    }
    assert child.stage_seconds([(1.0, "nothing of that kind")], 2.0) == {}


def test_a_child_is_timed_and_its_peak_counted(tmp_path: Path) -> None:
    code = "import sys; print('work (1 steps)', file=sys.stderr); held = b'x' * (300 << 20); print(len(held))"
    seen: list[str] = []
    done = child.run([sys.executable, "-c", code], tmp_path / "log", seen.append)
    assert done.stdout == f"{300 << 20}\n"
    assert done.peak_rss_bytes > 300 << 20
    assert list(done.stages) == ["work"]
    assert seen == ["work (1 steps)"]
    assert (tmp_path / "log").read_text() == "work (1 steps)\n"


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    code = "import sys; print('first', file=sys.stderr); sys.exit('no such thing')"
    with pytest.raises(OmniLMMError, match=r"^no such thing \(all it said is in .*log\)$"):
        child.run([sys.executable, "-c", code], tmp_path / "log", silent)


def test_a_child_ends_with_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it ignores Ctrl-C, as what a shell has started in the background does."""
    monkeypatch.setattr(child, "GRACE_S", 0.5)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    code = "import sys, time; print('begun', file=sys.stderr, flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        child.run([sys.executable, "-c", code], tmp_path / "log", interrupt)


# ---- which stages ----


def names(run: Run) -> list[str]:
    return [stage.name for stage in stages.all_stages(run)]


def test_what_is_given_is_not_made(tmp_path: Path) -> None:
    alone = names(Run(Settings(), tmp_path))
    cpu = ["convert-cpu", "plan-cpu", "run-cpu", "bench-cpu"]
    assert alone[:6] == ["checkpoint", "gptq", *cpu]
    assert alone[-4:] == ["convert-24gb", "plan-24gb", "convert-8gb", "plan-8gb"]  # nothing here could run them
    with_peers = Run(Settings(checkpoint="c", gptq="g"), tmp_path, peers=Path("python"))
    assert names(with_peers) == [*cpu, "gguf", "openvino", "peers", *alone[6:]]
    given = Run(Settings(), tmp_path, peers=Path("python"), gguf=Path("f"), openvino=Path("o"))
    assert names(given) == [*alone[:6], "peers", *alone[6:]]
    chosen = Run(Settings(checkpoint="c", gptq="g"), tmp_path, presets=("24gb", "cpu"))
    assert names(chosen) == ["convert-24gb", "plan-24gb", *cpu]


def test_changed_arguments_are_refused_by_name(tmp_path: Path) -> None:
    claim(Run(Settings(layers=2), tmp_path))
    claim(Run(Settings(layers=2), tmp_path, peers=Path("python"), remove_bundles=True))  # these change no result
    for other, said in (
        (Settings(layers=3), "--layers: .* was begun with 2, not 3"),
        (Settings(layers=2, decode_at="9"), "--decode-at: .* was begun with 200,1000,2000, not 9"),
        (Settings(layers=2, checkpoint="/c"), "--checkpoint: .* was begun with none, not /c"),
    ):
        with pytest.raises(InputError, match=said):
            claim(Run(other, tmp_path))


def recorded(asked: list[str], name: str, *, fails: bool = False, measures_speed: bool = False) -> Stage:
    def action(run: Run, show: Show) -> Json:
        asked.append(name)
        if fails:
            raise OmniLMMError("the disk is full")
        return {"name": name}

    return Stage(name, action, measures_speed)


def started(monkeypatch: pytest.MonkeyPatch, work: Path, found: Sequence[Stage], *words: str) -> int:
    monkeypatch.setattr(program, "all_stages", lambda run: found)
    monkeypatch.setattr(program, "render", lambda *_: None)
    return program.main(["--work", str(work), *words])


def test_a_run_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    first, last = recorded(asked, "first"), recorded(asked, "last", measures_speed=True)
    assert started(monkeypatch, tmp_path, [first, recorded(asked, "second", fails=True), last]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "benchmarks.real: second: the disk is full"
    assert Run(Settings(), tmp_path).begun("second").is_file()
    second = recorded(asked, "second")
    assert started(monkeypatch, tmp_path, [first, second, last], "--prepare") == 0
    assert asked == ["first", "second", "second"]
    assert started(monkeypatch, tmp_path, [first, second, last]) == 0
    assert asked == ["first", "second", "second", "last"]
    found = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "results").iterdir()}
    assert found == {name: {"name": name, "resumed": name == "second"} for name in ("first", "second", "last")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layers", "0"], "--layers: 0 is out of range; give 1 or more"),
        (["--threads", "0"], "--threads: 0 is out of range; give 1 or more"),
        (["--prefill", "9,x"], "--prefill: '9,x' is no list of lengths"),
        (["--presets", "cpu,16gb"], "--presets: '16gb' isn't measured here"),
        (["--gptq", "."], "--gptq: name the --checkpoint"),
        (["--checkpoint", "nowhere"], "--checkpoint: nowhere: there is no such file or folder"),
        (["--peers", "nowhere"], "--peers: nowhere can't be run"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert program.main(["--work", str(tmp_path / "work"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "work").exists()


# ---- disk ----


def test_disk_of_the_full_model(tmp_path: Path) -> None:
    """23.2 GB of bf16; a Q4_0 file of Mistral-7B has 4.1 GB; the rest as docs/performance.md has it measured."""
    run = Run(Settings(), tmp_path, peers=Path("python"))
    found = room.needs(run, list(stages.all_stages(run)))
    sizes = {need.name: need.size / GB for need in found}
    assert sizes["checkpoint"] == pytest.approx(23.2, abs=0.05)
    assert sizes["gptq"] == pytest.approx(4.2, abs=0.1)
    assert 4.1 < sizes["gguf"] < 4.6
    assert 8 < sizes["convert-cpu-small"] < 9
    bundles = sum(size for name, size in sizes.items() if name.startswith("convert-"))
    kept, removed = (room.peak(found, removed=removed) / GB for removed in (False, True))
    largest = max(size for name, size in sizes.items() if name.startswith("convert-"))
    assert kept - removed == pytest.approx(1.02 * (bundles - largest))


def test_what_is_there_needs_no_room(tmp_path: Path) -> None:
    run = Run(Settings(layers=2, blocks=2), tmp_path)
    claim(run)
    for name in ("checkpoint", *(f"convert-{preset}" for preset in stages.PRESETS)):
        write_json(run.result(name), {})
    assert [need.name for need in room.needs(run, list(stages.all_stages(run)))] == ["gptq"]


def test_a_disk_too_small(tmp_path: Path) -> None:
    with pytest.raises(OmniLMMError, match=r"1000000\.0 GB are needed there, and .* are free: .*--remove-bundles"):
        room.check_room(Run(Settings(), tmp_path), round(1e15))


def test_sizes_count_files_with_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").write_bytes(b"x" * 10)
    assert stages.size_of(tmp_path) == 1010
    assert stages.size_of(tmp_path / "a") == 1000


# ---- with the built-in model in the place of a bundle ----


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The stages that measure, in processes of their own; conversion is a made-up result."""
    checkpoint = str(ROOT / "examples/tiny/checkpoint")
    settings = Settings(prefill="5,9", decode_at="4,12", repeat=2, threads=1, checkpoint=checkpoint)
    run = Run(settings, tmp_path_factory.mktemp("real"))
    claim(run)
    run.bundle("cpu").symlink_to(Bundle.find("tiny").folder, target_is_directory=True)
    made = {"seconds": 83.2, "peak_rss_bytes": 5 * 10**9, "bytes": 4 * 10**8, "work_bytes": 10**8}
    took = {"vision tower": 60.0, "tokenizer": 0.5}
    write_json(run.result("convert-cpu"), {**made, "stages": took})
    write_json(run.result("gptq"), {"seconds": 12.34, "peak_rss_bytes": 10**9, "bytes": 10**9, "stages": {}})
    for stage in stages.preset_stages("cpu", run):
        if not stage.is_done(run):
            stage.run(run, silent)
    return run


def results(run: Run) -> dict[str, Json]:
    return {path.stem: json.loads(path.read_text()) for path in run.result("").parent.glob("*.json")}


def test_the_bundle_is_measured(measured: Run) -> None:
    found = results(measured)
    assert found["bench-cpu"]["bench"]["subject"]["bundle"] == Bundle.find("tiny").manifest.name
    assert found["run-cpu"]["answer"]["timings"]["prompt_tokens"] > 60
    assert found["run-cpu"]["peak_rss_bytes"] > 50 << 20
    assert found["plan-cpu"]["checkpoint"]["preset"] == "cpu"
    assert found["plan-cpu"]["bundle"]["host_total"] > 0


def test_tables(measured: Run) -> None:
    text = tables.report(results(measured), measured.settings)
    assert "| `convert --preset cpu` | 1 min 23 s | 5.00 | 0.40 |" in text
    assert "| decoder, rounded | 12.3 s | 1.00 | 1.00 |" in text
    assert "| vision tower | 60.0 |" in text
    assert "| the rest | 23.2 |" in text  # what was too short for a row, and what came before the first stage
    assert "| prefill of 9 tokens | " in text
    assert "| decode at 12 tokens of context | " in text
    assert "Not run." in text
    assert "24gb" not in text


def test_plans_are_held_against_what_was_measured(measured: Run) -> None:
    found = results(measured)
    pairs = {each.what: each for each in tables.comparisons(found)}
    assert list(pairs) == ["bundle on disk", "peak, one question", "peak, the whole bench"]
    assert pairs["bundle on disk"].measured == 4 * 10**8
    assert pairs["peak, one question"].planned == found["plan-cpu"]["checkpoint"]["host_total"]
    assert pairs["peak, the whole bench"].planned >= pairs["peak, one question"].planned


def test_without_results_there_is_little_to_say() -> None:
    text = tables.report({}, Settings(layers=2, blocks=3))
    assert "3 tower blocks and 2 decoder layers" in text
    assert "Speed" not in text


def test_plots(measured: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.real.images import draw

    drawn = [path.name for path in draw(results(measured), tmp_path)]
    assert "performance-decode.svg" in drawn
    assert "performance-plan.svg" in drawn
    assert "of the plan" in (tmp_path / "performance-plan.svg").read_text()


def test_a_bundle_that_is_gone(tmp_path: Path) -> None:
    run = Run(Settings(), tmp_path)
    with pytest.raises(InputError, match=r"it is gone; remove .*convert-cpu\.json"):
        stages.bench("cpu", run, silent)

"""`omnilmm-lite eval` as a whole: what is asked, what is kept, what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import main
from omnilmm_lite import load
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.data.opening import open_data
from omnilmm_lite.evaluation.data.places import find_data
from omnilmm_lite.evaluation.prompts import build_prompt
from tests.command_line import refused, runner
from tests.evaluation.golden import cell, write_tsv
from tests.evaluation.mini_sets import EASY, write_easyvqa
from tests.evaluation.running.conftest import OPTIONS


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scores(out: Path, benchmark: str) -> dict[str, float]:
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (result,) = [each for each in report["results"] if each["benchmark"] == benchmark]
    return {each["name"]: each["value"] for each in result["scores"]}


def test_every_benchmark_comes_to_a_report(whole_run: Path) -> None:
    report = json.loads((whole_run / "report.json").read_text(encoding="utf-8"))
    facts = {each["benchmark"]: each for each in report["benchmarks"]}
    assert facts.keys() == {each.value for each in Benchmark}
    assert all(each["questions"] == each["answers"] > 0 for each in facts.values())
    judged = {name for name, each in facts.items() if each["not_scored"]}
    assert judged == {"mmhal", "llavabench"}
    assert {each["benchmark"] for each in report["results"]} == facts.keys() - judged
    page = (whole_run / "report.html").read_text(encoding="utf-8")
    text = (whole_run / "report.md").read_text(encoding="utf-8")
    for name in ("MME", "MathVista testmini", "a judge has to read the answers", "GPT-4V"):
        assert name in page
        assert name in text


def test_answers_are_the_public_apis(mini_sets: Path, whole_run: Path) -> None:
    model = load(threads=1)
    kept = {line["index"]: line["text"] for line in lines(whole_run / "mme.jsonl")}
    data = open_data(Benchmark.MME, mini_sets / "MME.tsv")
    for item in data.items[:6]:
        prompt = build_prompt(Benchmark.MME, item, Profile.VEK2402)
        chat = model.chat(item.pictures[0].read())
        assert kept[item.index] == chat.ask(prompt, greedy=True, repetition_penalty=1.1, max_new_tokens=16)
    right = [kept[item.index].lower() == str(item.answer).lower() for item in data.items]
    assert 0.8 < np.mean(right) < 1  # `tiny` knows these pictures, though not all
    assert scores(whole_run, "easyvqa")["accuracy"] == 100.0


def test_the_likeliest_option_has_the_greatest_logit(mini_sets: Path, whole_run: Path) -> None:
    """Teacher-forced, with the whole prompt run in one go."""
    model = load(threads=1)
    kept = {line["index"]: line["likeliest"] for line in lines(whole_run / "mathvista.jsonl")}
    right = []
    for item in open_data(Benchmark.MATHVISTA, mini_sets / "MathVista_MINI.tsv").items:
        if not item.options:  # a number, which `tiny` can't say
            assert kept[item.index] is None
            right.append(False)
            continue
        message = {"role": "user", "content": build_prompt(Benchmark.MATHVISTA, item, Profile.VEK2402)}
        ids = model.encode_chat([message], image=True)
        logits = model.logits(ids, model.encode_image(item.pictures[0].read()))[-1]
        tokens = {letter: model.text.tokenizer.encode_text(f"\n{letter}")[-1] for letter in item.options}
        assert kept[item.index] == max(tokens, key=lambda letter: float(logits[tokens[letter]]))
        right.append(item.options[kept[item.index]] == item.answer)
    assert scores(whole_run, "mathvista")["option likelihood, accuracy"] == 100 * np.mean(right)


def test_a_part_and_then_the_whole(tmp_path: Path, whole_run: Path) -> None:
    """Shards are disjoint, and their lines together are the whole run's: no model is asked again."""
    data, out = write_easyvqa(tmp_path), tmp_path / "whole"
    for number in (1, 2):
        shard = tmp_path / f"shard{number}"
        assert main(["eval", "easyvqa", "--data", str(data), "-o", str(shard), "--shard", f"{number}/2", *OPTIONS]) == 0
    out.mkdir()
    shutil.copyfile(tmp_path / "shard1" / "easyvqa.jsonl.settings.json", out / "easyvqa.jsonl.settings.json")
    both = [(tmp_path / f"shard{number}" / "easyvqa.jsonl").read_bytes() for number in (1, 2)]
    (out / "easyvqa.jsonl").write_bytes(b"".join(both))
    assert main(["eval", "easyvqa", "--data", str(data), "-o", str(out), *OPTIONS]) == 0
    assert (out / "easyvqa.jsonl").read_bytes() == b"".join(both)
    assert sorted(both[0].splitlines() + both[1].splitlines()) == sorted(
        (whole_run / "easyvqa.jsonl").read_bytes().splitlines()
    )


def test_what_cannot_be_asked_is_named_and_never_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_easyvqa(tmp_path), tmp_path / "out"
    (data / "images" / "0.png").write_bytes(b"no picture")
    (data / "images" / "1.png").unlink()
    entries = json.loads((data / "questions.json").read_text(encoding="utf-8"))
    lost = sum(each[2] in (0, 1) for each in entries)
    (data / "questions.json").write_text(json.dumps([*entries, ["only two", "cells"]]), encoding="utf-8")
    assert main(["eval", "easyvqa", "--data", str(data), "-o", str(out), *OPTIONS]) == 0
    told = capsys.readouterr()
    assert f"entry {len(entries)}: it isn't a question, an answer and a picture's number" in told.err
    assert "easyvqa, entry 0: picture: this is not a JPEG, PNG" in told.err
    assert "easyvqa: pictures: 1 is missing, such as " in told.err
    assert "easyvqa, entry 1: " not in told.err  # the same picture's second question
    assert f"{lost} questions have no answer and count in no figure" in told.out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["results"][0]["scores"][0]["count"] == len(entries) - lost
    # once the pictures are there, the same command asks again only if it is told to
    for number in (0, 1):
        shutil.copyfile(EASY / "images" / f"{number}.png", data / "images" / f"{number}.png")
    assert main(["eval", "easyvqa", "--data", str(data), "-o", str(out), "--retry-errors", *OPTIONS]) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["results"][0]["scores"][0]["count"] == len(entries)


def test_a_folder_without_its_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_easyvqa(tmp_path)
    shutil.rmtree(data / "images")
    assert main(["eval", "easyvqa", "--data", str(data), "-o", str(tmp_path / "out")]) == 2
    assert "not one of its pictures is there" in capsys.readouterr().err


def test_a_split_without_answers_and_anothers_file_are_refused(
    mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unanswered = tmp_path / "MMBench_TEST_EN.tsv"
    rows = [{"index": str(n), "image": cell(), "question": "?", "A": "x", "B": "y"} for n in range(3)]
    write_tsv(unanswered, rows)
    for benchmark, path, why in (
        ("mmbench", unanswered, "line 2: the right answer is None"),
        ("mme", mini_sets / "SEEDBench_IMG.tsv", "line 2: the right answer is 'A', where MME has Yes or No"),
    ):
        assert main(["eval", benchmark, "--data", str(path), "-o", str(tmp_path / "out")]) == 2
        err = capsys.readouterr().err
        assert f"{benchmark}: no row has a right answer ({why}" in err
        assert "of the split with answers" in err


def test_a_picture_whose_name_is_too_long_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_easyvqa(tmp_path)
    (data / "questions.json").write_text(json.dumps([["what?", "yes", 0], ["what?", "no", 10**400]]), encoding="utf-8")
    assert main(["eval", "easyvqa", "--data", str(data), "-o", str(tmp_path / "out"), *OPTIONS]) == 0
    assert "easyvqa: pictures: 1 is missing" in capsys.readouterr().err


def test_of_doubled_rows_the_first_counts(
    mini_sets: Path, whole_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (mini_sets / "SEEDBench_IMG.tsv").read_text(encoding="utf-8").splitlines()
    doubled = tmp_path / "SEEDBench_IMG.tsv"
    cells = rows[1].split("\t")
    other = "\t".join([cells[0], rows[-1].split("\t")[1], *cells[2:]]).replace("What is", "Who is")
    doubled.write_text("\n".join([*rows, other]) + "\n", encoding="utf-8")
    assert main(["eval", "seedbench", "--data", str(doubled), "-o", str(tmp_path / "out"), *OPTIONS]) == 0
    assert "the index '0' is that of line 2 too" in capsys.readouterr().err
    first, whole = (open_data(Benchmark.SEEDBENCH, path).items[0] for path in (doubled, mini_sets / doubled.name))
    assert first.pictures[0].read() == whole.pictures[0].read()
    assert lines(tmp_path / "out" / "seedbench.jsonl") == lines(whole_run / "seedbench.jsonl")


def test_checking_asks_nothing(mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_easyvqa(tmp_path)
    (data / "images" / "2.png").write_bytes(b"no picture")
    assert main(["eval", "easyvqa", "--data", str(data), "--check"]) == 1
    told = capsys.readouterr()
    out = told.out.splitlines()
    assert out[-1] == "easyvqa: 61 rows, 2 problems"
    assert "where the published file has 9673" in out[0]
    assert "--check: 2 problems, named above" in told.err
    assert main(["eval", "all", "--data", str(mini_sets), "--check"]) == 1
    assert "llavabench: 6 rows, 1 problem\n" in capsys.readouterr().out


@pytest.mark.slow
def test_data_as_published_passes_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "easyvqa", "--data", str(EASY), "--check"]) == 0
    assert capsys.readouterr().out == "easyvqa: 9673 rows, 0 problems\n"


def test_settings_for_chats_leave_benchmarks_alone(
    mini_sets: Path, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNILMM_TEMPERATURE", "1.5")
    monkeypatch.setenv("OMNILMM_MAX_NEW_TOKENS", "1")
    out = tmp_path / "out"
    assert main(["eval", "mathvista", "--data", str(mini_sets), "-o", str(out), *OPTIONS]) == 0
    assert (out / "mathvista.jsonl").read_bytes() == (whole_run / "mathvista.jsonl").read_bytes()


def test_the_list_names_what_each_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "list"]) == 0
    out = capsys.readouterr().out
    for word in ("MMBench_DEV_EN.tsv", "1935.8", "RLHF-V/RLHF-V", "MIT", "1164 questions, in 4329 rows",
                 "not known here", "CC BY-SA 4.0", "omnilmm-lite bench --model MODEL --json"):  # fmt: skip
        assert word in out
    size = sum(path.stat().st_size for path in EASY.rglob("*") if path.is_file())
    assert f"9673 questions; files: {size:,} bytes" in out


def test_the_list_computes_each_time_from_a_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """LLaVA-Bench: 24 pictures of 2 s and 300 tokens, 60 rows of 30 and 200; 100 tokens a second in, 50 out: 24 x 5 +
    60 x 4.3 = 378 s. Speeds are those of the lengths next to 300."""
    rates = {"prefill": [(64, 1.0), (316, 100.0), (512, 3.0)], "decode": [(200, 50.0), (1000, 2.0)]}
    found = {
        "subject": {"bundle": "mine", "device": "cpu"},
        "picture": {"series": {"median_s": 2.0}},
        **{
            name: [{"tokens" if name == "prefill" else "context": at, "tokens_per_s": speed} for at, speed in rows]
            for name, rows in rates.items()
        },
    }
    file = tmp_path / "speed.json"
    file.write_text(json.dumps(found), encoding="utf-8")
    assert main(["eval", "list", "--bench", str(file)]) == 0
    out = capsys.readouterr().out
    section = out[out.index("llavabench:") : out.index("easyvqa:")]
    assert "6 min with mine on cpu" in section
    for broken in ({}, {**found, "picture": {}}, {**found, "prefill": [{}]}, {**found, "decode": []}):
        file.write_text(json.dumps(broken), encoding="utf-8")
        assert main(["eval", "list", "--bench", str(file)]) == 2
        assert "give what `omnilmm-lite bench --json` prints" in capsys.readouterr().err


def test_data_is_found_by_its_published_name(mini_sets: Path, tmp_path: Path) -> None:
    assert find_data(Benchmark.MME, mini_sets, alone=False) == mini_sets / "MME.tsv"
    assert find_data(Benchmark.LLAVABENCH, mini_sets, alone=True) == mini_sets / "llava-bench-in-the-wild"
    assert find_data(Benchmark.MME, tmp_path, alone=True) == tmp_path
    assert find_data(Benchmark.MME, tmp_path, alone=False) is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["what"], "what: there is no such benchmark"),
        (["mme"], "--data is missing"),
        (["list", "mme"], "give no other name with it"),
        (["mme", "--bench", "x"], "--bench: only `eval list` reads it"),
        (["mme", "--data", "no", "-o", "{out}"], "--data: no doesn't exist; give MME.tsv"),
        (["mme", "--data", "{mini}"], "-o is missing"),
        (["mme", "mmmu", "--data", "{empty}", "-o", "{out}"], "has no mme: MME.tsv"),
        (["all", "--data", "{empty}", "-o", "{out}"], "has none of the benchmarks"),
        (["mme", "--data", "{mini}", "-o", "{file}"], "is no folder"),
        (["mme", "--data", "{mini}", "-o", "{out}", "--shard", "3/2"], "--shard: '3/2' is none"),
        (["mme", "--data", "{mini}", "-o", "{out}", "--shard", "1/" + 5000 * "9"], "is none; give one like 2/4"),
        (["mme", "--data", "{mini}", "-o", "{out}", "--limit", "0"], "--limit: 0 is out of range"),
        (["mme", "--data", "{mini}", "-o", "{out}", "--temperature", "1"], "--temperature without --seed"),
        (["mme", "--data", "{mini}", "-o", "{out}", "--against-weights", "bf16"], "there is no --against"),
        (["mmhal", "--data", "{mini}", "-o", "{out}", "--judge", "gpt"], "--judge: 'gpt' is no URL"),
        (["mmhal", "llavabench", "--data", "{mini}", "-o", "{out}", "--export-judge-requests", "x"], "one file holds"),
        (["mmhal", "--data", "{mini}", "-o", "{out}", "--export-judge-requests", "{mini}"], "is a folder; name a file"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    why: str,
    mini_sets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = {"mini": mini_sets, "empty": tmp_path / "empty", "out": tmp_path / "out", "file": tmp_path / "file"}
    result = runner(capsys, monkeypatch)("eval", *(word.format(**places) for word in words))
    assert why in refused(result)


@pytest.mark.slow
def test_tinys_published_figure(tmp_path: Path) -> None:
    """docs/tiny.md's, on all questions of the published test split, by another way of asking."""
    assert main(["eval", "easyvqa", "--data", str(EASY), "-o", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    (result,) = report["results"]
    assert (f"{result['scores'][0]['value']:.2f}", result["scores"][0]["count"]) == ("99.10", 9673)
    assert {each["name"]: f"{each['value']:.2f}" for each in result["categories"]} == {
        "colour": "100.00",
        "shape": "96.42",
        "yes/no": "99.41",
    }
    assert result["unparsed"] == 0


def test_several_at_once_answer_the_same(
    mini_sets: Path, whole_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The letters that are likeliest, too; and a folder that was begun so isn't gone on in otherwise."""
    words = ["eval", "mme", "seedbench", "--data", str(mini_sets), "-o", str(tmp_path / "out"), *OPTIONS]
    assert main([*words, "--parallel", "4"]) == 0
    for name in ("mme", "seedbench"):
        answers, same = (lines(folder / f"{name}.jsonl") for folder in (whole_run, tmp_path / "out"))
        assert answers == same and len(answers) > 3
    assert any(each["likeliest"] for each in same)
    capsys.readouterr()
    assert main(words) == 2
    assert "parallel was '4'" in capsys.readouterr().err


def test_how_many_pay_is_measured_and_said(
    mini_sets: Path,
    whole_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of one and two, by a step each: these are few questions, and short answers."""
    monkeypatch.setattr("omnilmm_lite.pipeline.width.STEPS", 1)
    monkeypatch.setattr("omnilmm_lite.plan.slots.MOST_BY_ITSELF", 2)
    words = ["eval", "objhal", "mmhal", "--data", str(mini_sets), "-o", str(tmp_path / "out"), *OPTIONS]
    assert main([*words, "--parallel", "auto"]) == 0
    assert "tiny: answers at once: " in capsys.readouterr().err
    for name in ("objhal", "mmhal"):
        assert lines(tmp_path / "out" / f"{name}.jsonl") == lines(whole_run / f"{name}.jsonl")


def test_how_many_at_once_is_checked_before_the_folder_is_made(
    mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "mme", "--data", str(mini_sets), "-o", str(tmp_path / "out"), "--parallel", "99"]
    assert main(words) == 2
    assert "--parallel: '99' is out of range; give 1 to 64, or auto" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

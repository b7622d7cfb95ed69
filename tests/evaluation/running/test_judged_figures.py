"""A judge beside rules: its figures stand beside theirs, and whoever needs none says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import main
from tests.command_line import refused, runner
from tests.evaluation.running.conftest import OPTIONS, Judge
from tests.evaluation.running.test_run import scores

REPLIES = {"mmbench": "Z", "seedbench": "A", "mmmu": "A", "mathvista": "2", "objhal": '["a cat", "cars"]'}


@pytest.mark.parametrize("benchmark", list(REPLIES))
def test_a_judges_figures_stand_beside_the_rules(
    benchmark: str, judge: Judge, mini_sets: Path, whole_run: Path, tmp_path: Path
) -> None:
    judge.reply = REPLIES[benchmark]
    out, batch = tmp_path / "out", tmp_path / "batch.jsonl"
    words = ["eval", benchmark, "--data", str(mini_sets), "-o", str(out), *OPTIONS]
    assert main([*words, "--judge", judge.url, "--export-judge-requests", str(batch)]) == 0
    found, alone = scores(out, benchmark), scores(whole_run, benchmark)
    assert {name: value for name, value in found.items() if not name.endswith(", with a judge")} == alone
    judged = {name: value for name, value in found.items() if name not in alone}
    assert judged
    if benchmark == "objhal":  # every picture has a cat and a cup; the cars are in none
        assert judged["objects without hallucination, with a judge"] == 50
    if benchmark == "mathvista":  # four choices that it knows but for one, four twos
        assert judged["accuracy, with a judge"] == alone["accuracy"] + 50
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "put to the judge, 0 replies unread; judged by gpt-4 at 127.0.0.1" in text
    assert "not comparable with published figures" in text
    requests = [json.loads(line) for line in batch.read_text(encoding="utf-8").splitlines()]
    sent = [{key: value for key, value in body.items() if key != "path"} for body in judge.bodies]
    assert {json.dumps(each["body"], sort_keys=True) for each in requests} == {
        json.dumps(body, sort_keys=True) for body in sent
    }
    # the same replies from a file give the same figures
    replies = tmp_path / "replies.jsonl"
    lines = [
        {"custom_id": each["custom_id"], "response": {"body": {"choices": [{"message": {"content": judge.reply}}]}}}
        for each in requests
    ]
    replies.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert main([*words, "--judge", str(replies)]) == 0
    assert scores(out, benchmark) == found


def test_an_unread_reply_is_counted(judge: Judge, mini_sets: Path, tmp_path: Path) -> None:
    judge.reply = "I can't say"
    words = ["eval", "objhal", "--data", str(mini_sets), "-o", str(tmp_path / "out"), *OPTIONS]
    assert main([*words, "--judge", judge.url]) == 0
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"{len(judge.bodies)} answer" in text
    assert f", {len(judge.bodies)} repl" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["mme", "easyvqa"], "no judge is needed for mme and easyvqa by"),
        (["mmbench", "--profile", "official"], "no judge is needed for mmbench by profile official"),
    ],
)
def test_a_judge_that_nobody_needs_is_refused(
    words: list[str],
    why: str,
    judge: Judge,
    mini_sets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = runner(capsys, monkeypatch)
    common = ("--data", str(mini_sets), "-o", str(tmp_path / "out"))
    for option, value in (("--judge", judge.url), ("--export-judge-requests", str(tmp_path / "x"))):
        said = refused(run("eval", *words, *common, option, value))
        assert option in said and why in said
    assert judge.bodies == []


def test_who_needs_none_is_said(
    judge: Judge, mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "eval",
        "mmhal",
        "easyvqa",
        "--data",
        str(mini_sets),
        "-o",
        str(tmp_path / "out"),
        "--limit",
        "2",
        *OPTIONS,
    ]
    assert main([*words, "--judge", judge.url]) == 0
    assert "--judge: no judge is needed for easyvqa by profile vek2402" in capsys.readouterr().err

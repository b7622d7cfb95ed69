"""What judges are asked, worked out from the published scripts, and how batches of replies are read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.judge import llavabench, mmhal
from omnilmm_lite.evaluation.judge.request import JudgeRequest, read_batch, write_batch
from omnilmm_lite.evaluation.judge.rubric import read_llava_rubric, read_mmhal_rubric

ITEM = Item(
    "7", "Where {?}", answer="There.", category="conv",
    attributes={"image_content": '["Dog", "Cat"]', "caption": "a street", "gpt4_ans": "Here."},
)  # fmt: skip
ANSWER = Prediction(ITEM, "Assistant: over {} there \n")
SCRIPT = "import os\nraise SystemExit(1)\ntemplate = '''Contents {} of {}, {} and {}.'''\n"


def _reply(index: str, text: str) -> dict[str, Any]:
    return {"custom_id": index, "response": {"status_code": 200, "body": {"choices": [{"message": {"content": text}}]}}}


def _answer(index: str) -> Prediction:
    return Prediction(Item(index, "?"), "an answer")


def test_mmhals_judge_gets_the_template_filled(tmp_path: Path) -> None:
    """The script is parsed, never run."""
    (tmp_path / "eval_gpt4.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "rubric.txt").write_text("Contents {} of {}, {} and {}.", encoding="utf-8")
    for name in ("eval_gpt4.py", "rubric.txt"):
        (request,) = mmhal.requests([ANSWER], read_mmhal_rubric(tmp_path / name))
        assert request.user == "Contents Dog, Cat of Where {?}, There. and over {} there."
        assert (request.index, request.system, request.temperature) == ("7", None, 0.0)


def test_mmhals_response_file_keeps_all_else(tmp_path: Path) -> None:
    template, filled = tmp_path / "response_template.json", tmp_path / "responses.json"
    template.write_text(json.dumps([{"question": "Where?", "image_id": "a", "model_answer": ""}]), encoding="utf-8")
    mmhal.write_responses(template, [ANSWER], filled)
    assert json.loads(filled.read_text(encoding="utf-8")) == [
        {"question": "Where?", "image_id": "a", "model_answer": "over {} there"}
    ]
    with pytest.raises(InputError, match="has 1 question for 2 answers"):
        mmhal.write_responses(template, [ANSWER, ANSWER], filled)


def test_llavas_judge_sees_gpt4_first(tmp_path: Path) -> None:
    rule = {"llava_bench_conv": {"role": "Assistant", "prompt": "Rate."}, "default": {}}
    (tmp_path / "rule.json").write_text(json.dumps(rule), encoding="utf-8")
    (tmp_path / "llavabench.py").write_text(f"rule_dict = {rule!r}\n", encoding="utf-8")
    for name in ("rule.json", "llavabench.py"):
        (request,) = llavabench.requests([Prediction(ITEM, "Over there.")], read_llava_rubric(tmp_path / name))
        assert request.user == (
            "[Context]\na street\n\n[Question]\nWhere {?}\n\n[Assistant 1]\nHere.\n\n[End of Assistant 1]\n\n"
            "[Assistant 2]\nOver there.\n\n[End of Assistant 2]\n\n[System]\nRate.\n\n"
        )
    with pytest.raises(InputError, match="no rule for 'detail'"):
        llavabench.requests([Prediction(Item("1", "?", category="detail"), "")], {"conv": ("Assistant", "Rate.")})


@pytest.mark.parametrize("content", ["", "{} {} {}", "template = 1", "{", "[1]", "def f(:"])
def test_other_rubrics_are_refused(content: str, tmp_path: Path) -> None:
    for name in ("x.py", "x.txt", "x.json"):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"; (give|download)"):
            read_mmhal_rubric(tmp_path / name)
        with pytest.raises(InputError, match=r"; (give|download)"):
            read_llava_rubric(tmp_path / name)


def test_a_batch_is_openais(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    write_batch(path, [JudgeRequest("7", "ask\n\u732b", "be kind", 0.2)], [ANSWER], "gpt-4")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "custom_id": "7@" + hashlib.sha256(ANSWER.text.encode()).hexdigest()[:12],
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "gpt-4",
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "ask\n\u732b"}],
            "temperature": 0.2,
            "max_tokens": 1024,
        },
    }


def test_replies_come_in_the_questions_order(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text("\n".join(json.dumps(_reply(index, f"r{index}")) for index in ("2", "1")), encoding="utf-8")
    assert read_batch(path, [_answer("1"), _answer("2")]) == ["r1", "r2"]
    with pytest.raises(InputError, match="no reply to 1 question, such as '3'"):
        read_batch(path, [_answer(index) for index in ("1", "2", "3")])


def test_replies_about_other_answers_are_refused(tmp_path: Path) -> None:
    batch, path = tmp_path / "requests.jsonl", tmp_path / "replies.jsonl"
    write_batch(batch, [JudgeRequest("1", "ask")], [_answer("1")], "gpt-4")
    name = json.loads(batch.read_text(encoding="utf-8"))["custom_id"]
    path.write_text(json.dumps(_reply(name, "yes")), encoding="utf-8")
    assert read_batch(path, [_answer("1")]) == ["yes"]
    with pytest.raises(InputError, match=r"line 1, '1@.*', is about another answer; export the requests again"):
        read_batch(path, [Prediction(Item("1", "?"), "another")])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([_reply("1", "x"), _reply("1", "y")], "line 2 is a second reply to '1'"),
        ([{"custom_id": "1", "response": None, "error": {"code": "x"}}], "line 1 holds no reply"),
        ([{"custom_id": "1", "response": {"body": {"choices": []}}}], "line 1 holds no reply"),
        (["text"], "line 1 holds no reply"),
    ],
)
def test_failed_replies_are_refused(lines: list[Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_batch(path, [_answer("1")])

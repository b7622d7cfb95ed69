"""Judges: a server that stands in for one, files of replies, and what others are to judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import main
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.evaluation.judge.client import JudgeClient, JudgeReply, chat_address
from omnilmm_lite.evaluation.judge.request import JudgeRequest
from tests.evaluation.running.conftest import OPTIONS, Judge
from tests.evaluation.running.test_run import scores

REQUEST = JudgeRequest("7", "Is it so?")


def ask(judge: Judge, folder: Path, notes: list[str] | None = None) -> list[str]:
    with JudgeClient(judge.url, "m", folder / "judge.jsonl", "secret", (notes or []).append) as client:
        return [reply.text for reply in client.ask([REQUEST, REQUEST], lambda index: None)]


def test_replies_are_kept_and_asked_for_once(judge: Judge, tmp_path: Path) -> None:
    assert ask(judge, tmp_path) == [judge.reply] * 2
    assert ask(judge, tmp_path) == [judge.reply] * 2
    (body,) = judge.bodies
    assert body["path"] == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "Is it so?"}]
    assert (body["model"], body["temperature"]) == ("m", 0.0)
    assert judge.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())


def test_a_server_that_is_busy_is_asked_again(judge: Judge, tmp_path: Path) -> None:
    judge.statuses = [503, 429]
    notes: list[str] = [""]
    assert ask(judge, tmp_path, notes) == [judge.reply] * 2
    assert len(judge.bodies) == 3
    assert [note.split(";")[0] for note in notes[1:]] == [
        f"{judge.url.removeprefix('http://')} can't answer now (503)",
        f"{judge.url.removeprefix('http://')} answers that there were too many requests (429)",
    ]


@pytest.mark.parametrize(("status", "why"), [(404, r"\(404\): not.*404; does it serve"), (401, "asks for a token")])
def test_a_refusal_is_final(status: int, why: str, judge: Judge, tmp_path: Path) -> None:
    judge.statuses = [status]
    with pytest.raises(OmniLMMError, match=why):
        ask(judge, tmp_path)
    assert len(judge.bodies) == 1


def test_another_servers_answer_is_told(judge: Judge, tmp_path: Path) -> None:
    judge.reply = ""
    with pytest.raises(OmniLMMError, match="answers something else than /v1/chat/completions does"):
        ask(judge, tmp_path)


COMPLETION = {"choices": [{"message": {"content": "yes"}}]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"<html>sign in</html>", "answers something else than /v1/chat/completions does; check the URL"),
        (b'{"error": {"message": "no money\\n"}}', r"does: no money\\n; check the URL"),
        (b"[" * 100_000, "answers something else"),
        (b'{"choices": [{"message": {"content": null}}]}', "answers something else"),
        (b'{"usage": ' + b"9" * 5000 + b"}", "answers something else"),
        (b" " * (2**24 + 1), "answers with more than 16,777,216 bytes"),
    ],
)
def test_a_server_that_answers_nonsense_is_told_of(raw: bytes, message: str, judge: Judge, tmp_path: Path) -> None:
    judge.raw = raw
    with pytest.raises(OmniLMMError, match=message):
        ask(judge, tmp_path)
    judge.raw, judge.statuses = raw, [400]
    with pytest.raises(OmniLMMError, match=r"\(400\).*does it serve|more than"):
        ask(judge, tmp_path)


@pytest.mark.parametrize("usage", [[True, 1], [-5, 1], [10**400, 1], [1.5, 1], None])
def test_tokens_that_cannot_be_are_not_counted(usage: list[float] | None, judge: Judge, tmp_path: Path) -> None:
    counts = usage and {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    judge.raw = json.dumps(COMPLETION | {"usage": counts}).encode()
    with JudgeClient(judge.url, "m", tmp_path / "judge.jsonl", None, print) as client:
        (reply,) = client.ask([REQUEST], lambda index: None)
    assert reply == JudgeReply("yes", None)


def test_half_a_surrogate_pair_is_asked_about(judge: Judge, tmp_path: Path) -> None:
    """As a data file or a reply may hold one: JSON has it, UTF-8 hasn't."""
    judge.raw = json.dumps({"choices": [{"message": {"content": "a\ud800"}}]}).encode()
    for _ in range(2):
        with JudgeClient(judge.url, "m", tmp_path / "judge.jsonl", None, print) as client:
            assert client.ask([JudgeRequest("7", "b\udfff")], lambda index: None)[0].text == "a\ud800"
    assert [body["messages"][0]["content"] for body in judge.bodies] == ["b\udfff"]


@pytest.mark.parametrize("key", ["se\ncret", "se\x00cret", "secrёt"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(key: str, judge: Judge, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^JUDGE_API_KEY: it holds characters that no key has; set it anew$"):
        JudgeClient(judge.url, "m", tmp_path / "judge.jsonl", key, print)
    with JudgeClient(judge.url, "m", tmp_path / "judge.jsonl", "secret\n", print) as client:
        client.ask([REQUEST], lambda index: None)
    assert judge.headers[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1", "http://a:x", "http://a:99999", "http://a:0", "http:///x", "http://exa mple", "http://\n",
        "http://" + "a" * 70 + ".com", "ftp://a",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no URL"):
        chat_address(url)


def test_a_password_in_the_address_would_stand_in_the_report() -> None:
    with pytest.raises(InputError, match="give the key as JUDGE_API_KEY") as told:
        chat_address("https://me:secret@example.org/v1")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a:8000", "http://a:8000/v1/chat/completions"),
        ("http://a:8000/v1/", "http://a:8000/v1/chat/completions"),
        ("https://a/x/chat/completions", "https://a/x/chat/completions"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert chat_address(url) == address
    with pytest.raises(InputError, match="is no URL"):
        chat_address(url.partition("://")[2])


def test_a_judged_run(judge: Judge, mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight questions rated 4: the mean is 4, and none below 3."""
    out, batch = tmp_path / "out", tmp_path / "batch.jsonl"
    words = ["eval", "mmhal", "--data", str(mini_sets), "-o", str(out), "--judge", judge.url, *OPTIONS]
    assert main([*words, "--export-judge-requests", str(batch)]) == 0
    assert scores(out, "mmhal")["mean rating"] == 4.0
    told = capsys.readouterr().out
    assert "the judge's tokens: 80 asked, 16 replied" in told
    assert "not comparable with published figures" in (out / "report.md").read_text(encoding="utf-8")
    asked = len(judge.bodies)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(words) == 0
    assert len(judge.bodies) == asked
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    requests = [json.loads(line) for line in batch.read_text(encoding="utf-8").splitlines()]
    assert [request["custom_id"].partition("@")[0] for request in requests] == [str(number) for number in range(8)]
    assert requests[0]["body"]["messages"] == judge.bodies[0]["messages"]
    filled = json.loads((out / "mmhal-responses.json").read_text(encoding="utf-8"))
    assert all(entry["model_answer"] for entry in filled)


def test_replies_from_a_file(mini_sets: Path, tmp_path: Path) -> None:
    """GPT-4's answer 8, the model's 6: three quarters."""
    replies = [
        {"custom_id": str(number), "response": {"body": {"choices": [{"message": {"content": "8 6\nSo."}}]}}}
        for number in reversed(range(6))
    ]
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(json.dumps(reply) + "\n" for reply in replies), encoding="utf-8")
    words = ["eval", "llavabench", "--data", str(mini_sets), "-o", str(tmp_path / "out"), "--judge", str(file)]
    assert main([*words, *OPTIONS]) == 0
    assert scores(tmp_path / "out", "llavabench")["relative score"] == 75.0


def test_one_models_replies_are_not_anothers(
    mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "replies.jsonl"
    file.touch()
    words = ["eval", "llavabench", "--data", str(mini_sets), "-o", str(tmp_path / "out"), "--judge", str(file)]
    assert main([*words, "--against", "tiny"]) == 2
    assert "holds replies about one model; leave out --against" in capsys.readouterr().err


def test_without_the_judges_instruction_nothing_is_asked(
    judge: Judge, mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").symlink_to(mini_sets / "images")
    template = tmp_path / "response_template.json"
    template.write_bytes((mini_sets / "response_template.json").read_bytes())
    words = ["eval", "mmhal", "--data", str(template), "-o", str(tmp_path / "out"), "--judge", judge.url]
    assert main([*words, *OPTIONS]) == 2
    assert "put its authors' eval_gpt4.py or template.txt there" in capsys.readouterr().err
    assert judge.bodies == []

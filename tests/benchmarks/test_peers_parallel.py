"""Several answers at once against llama-server: what both are asked, ratios, and servers that do something else."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.peers.make_gguf import BYTES, EOS, vocabulary
from benchmarks.peers.parallel.__main__ import build_parser, compare, measure, run_rounds
from benchmarks.peers.parallel.asking import Asker, Measurement, Task
from benchmarks.peers.parallel.disturbance import Clock
from benchmarks.peers.parallel.server import (
    LlamaServer,
    OmniLMMLite,
    Server,
    check_shapes,
    llama_version,
    running,
)
from benchmarks.peers.parallel.table import markdown, summarize
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError, OmniLMMError

TASK = Task(prompt=9, tokens=5, newcomer=3, threads=1)
VOCABULARY = 1000


@dataclass
class StandIn:
    """A server with slots that answers nothing in particular, and remembers what it was asked."""

    ends_early: int = 0  # tokens that answers lack
    forgets: bool = False
    status: int = 200
    weights: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    slots: dict[int, list[int]] = field(default_factory=dict)

    def usage(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, held = body["prompt"], self.slots.get(body["id_slot"], [])
        known = next((at for at, pair in enumerate(zip(ids, held, strict=False)) if pair[0] != pair[1]), len(held))
        self.slots[body["id_slot"]] = ids
        return {
            "prompt_tokens": len(ids),
            "completion_tokens": body["max_tokens"] - self.ends_early,
            "prompt_tokens_details": {"cached_tokens": 0 if self.forgets else min(known, len(ids) - 1)},
        }


@contextmanager
def serving(stand_in: StandIn) -> Iterator[httpx.Client]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            self.reply({"data": [{"id": "model", "meta": {"n_params": stand_in.weights}}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.asked.append(body)
            if stand_in.status != 200:
                self.reply({"error": "not today"}, stand_in.status)
            elif body.get("stream"):
                self.stream()
            else:
                self.reply({"choices": [{"text": "x"}], "usage": stand_in.usage(body)})

        def stream(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b': prefill\n\ndata: {"choices": [{"text": ""}]}\n\n')
            with suppress(OSError):  # until the client hangs up
                while not over.wait(0.001):
                    self.wfile.write(b'data: {"choices": [{"text": "x"}]}\n\n')

        def reply(self, content: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    over = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as http:
                yield http
        finally:
            over.set()
            server.shutdown()
            thread.join()


def test_every_slot_has_a_prompt_of_its_own_and_a_newcomer_goes_on_in_the_last() -> None:
    stand_in = StandIn()
    with serving(stand_in) as http:
        found = Asker(http, TASK, 3, VOCABULARY, eos=7).measure("stand-in")
    assert (found.engine, found.answers) == ("stand-in", 3)
    assert found.tokens_per_s > 0
    assert found.first_token_s > 0
    bodies = stand_in.asked
    for body in bodies:
        assert (body["model"], body["temperature"], body["repeat_penalty"], body["logit_bias"]) == (
            "model", 0, 1, {"7": -100},
        )  # fmt: skip
        assert all(0 < token < VOCABULARY for token in body["prompt"])
    prompts = {body["id_slot"]: body["prompt"] for body in bodies[:3]}
    assert sorted(prompts) == [0, 1, 2]
    assert len({tuple(ids) for ids in prompts.values()}) == 3
    timed = [body for body in bodies if body["max_tokens"] == TASK.tokens]
    assert {body["id_slot"]: body["prompt"] for body in timed} == prompts
    warm, last = (body for body in bodies if len(body["prompt"]) == 9 + 3)
    for body in (warm, last):
        assert (body["id_slot"], body["prompt"][:9], body["max_tokens"]) == (2, prompts[2], 1)
    assert warm["prompt"][9] != last["prompt"][9]  # or the second time its prompt would be known
    assert [body.get("stream", False) for body in bodies[-3:]] == [True, True, False]
    assert {body["id_slot"] for body in bodies[-3:-1]} == {0, 1}


@pytest.mark.parametrize(
    ("stand_in", "message"),
    [
        (StandIn(ends_early=1), r"a prompt and an answer of \(9, 0\) tokens, not \(9, 1\)"),
        (StandIn(forgets=True), "0 tokens of the prompt were known, not 8"),
        (StandIn(status=500), "not today"),
    ],
)
def test_a_server_that_does_something_else_is_not_measured(stand_in: StandIn, message: str) -> None:
    with serving(stand_in) as http, pytest.raises(OmniLMMError, match=message):
        Asker(http, TASK, 2, VOCABULARY, EOS).measure("stand-in")


def test_a_model_of_other_shapes_is_refused() -> None:
    """Mistral-7B has 7.24 billion weights, and OmniLMM adds nine tokens."""
    with serving(StandIn(weights=7_241_732_096 + 9 * 2 * 4096)) as http:
        check_shapes(http, DecoderConfig())
        with pytest.raises(InputError, match="make_gguf --layers 4"):
            check_shapes(http, DecoderConfig(num_hidden_layers=4))


def test_what_others_did_is_told_from_our_own() -> None:
    """Both of two processors busy for ten seconds, of which we and our children had twelve."""
    assert Clock(110.0, 520.0, 62.0).others(Clock(100.0, 500.0, 50.0)) == pytest.approx(0.8)
    before = Clock.read()
    after = Clock.read()
    assert after.everybody >= before.everybody > 0
    assert after.own >= before.own > 0


def test_what_was_disturbed_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, disturbed = [Clock(0, 0, 0), Clock(10, 10.5, 10)], [Clock(10, 10, 0), Clock(20, 30, 12)]
    clocks = iter([*disturbed, *quiet, *disturbed, *quiet, *quiet])
    monkeypatch.setattr(Clock, "read", lambda: next(clocks))
    monkeypatch.setattr("benchmarks.peers.parallel.disturbance.SAMPLE_S", 0.0)
    bundle = Bundle.find("tiny")
    ours = OmniLMMLite(bundle.folder, bundle.manifest)
    found = measure(ours, 1, TASK, bundle.manifest.config.decoder.vocab_size)
    assert found.engine.startswith("omnilmm-lite ")
    assert found.tokens_per_s > 0
    assert next(clocks, None) is None
    assert capsys.readouterr().err == "other programs kept 0.80 processors busy; once more\n"


def test_llama_server_shares_its_context_out() -> None:
    command = LlamaServer(Path("llama-server"), Path("x.gguf"), "1").command(5, 4, Task(200, threads=2))
    said = dict(itertools.pairwise(command))
    assert "--cont-batching" in command
    assert (said["--parallel"], said["--ctx-size"], said["--threads"]) == ("4", str(4 * Task(200).room), "2")


@dataclass(frozen=True)
class Broken:
    """A server that says something and ends."""

    name = "broken"
    eos = EOS

    def command(self, port: int, answers: int, task: Task) -> list[str]:
        return [sys.executable, "-c", "print('loading'); print('no such model')"]


def test_a_server_that_cannot_be_run(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="broken doesn't get ready; the last that it said: no such model"),
        running(Broken(), 1, TASK),
    ):
        pass
    with pytest.raises(InputError, match="can't be run"):
        llama_version(tmp_path / "llama-server")
    with pytest.raises(InputError, match="doesn't say its version"):
        llama_version(Path(sys.executable))


def pair(answers: int, ours: float, theirs: float) -> tuple[Measurement, Measurement]:
    return Measurement("ours", answers, ours, 0.1), Measurement("theirs", answers, theirs, 0.2)


def test_ratios_and_gains_are_taken_within_rounds() -> None:
    """The second round is twice as slow for both: neither gains nor ratios see it."""
    rounds = [
        [pair(1, 40, 20), pair(4, 100, 60)],
        [pair(1, 20, 10), pair(4, 50, 30)],
        [pair(1, 44, 22), pair(4, 110, 66)],
    ]
    one, four = summarize(rounds)
    assert (one.ours.gain, one.theirs.gain, one.ratio) == (1, 1, 2)
    assert (four.answers, four.ours.tokens_per_s, four.ours.gain, four.theirs.gain) == (4, 100, 2.5, 3)
    assert four.ratio == pytest.approx(100 / 60)
    table = markdown([one, four], TASK, 3, ("ours 1", "theirs 2"), "a processor (avx2)").splitlines()
    assert table[3] == "| 4 | 100.0 | 2.50 | 60.0 | 3.00 | 1.67 | 100 ms | 200 ms |"
    assert table[-1].startswith("ours 1 and theirs 2, over HTTP. Medians of 3 rounds")


def test_servers_take_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def stand_in(server: Server, answers: int, task: Task, vocab_size: int) -> Measurement:
        asked.append(f"{server.name.split()[0]} {answers}")
        return Measurement(server.name, answers, 1.0, 1.0)

    monkeypatch.setattr("benchmarks.peers.parallel.__main__.measure", stand_in)
    bundle = Bundle.find("tiny")
    ours, theirs = OmniLMMLite(bundle.folder, bundle.manifest), LlamaServer(Path("l"), Path("g"), "1")
    rounds = run_rounds(ours, theirs, [1, 4], TASK, VOCABULARY, 2)
    assert asked == ["omnilmm-lite 1", "llama-server 1", "omnilmm-lite 4", "llama-server 4"] * 2
    assert [[each[0].answers for each in pairs] for pairs in rounds] == [[1, 4]] * 2
    assert capsys.readouterr().out == ""


def test_numbers_of_answers_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--bundle", "tiny", "--gguf", "no such file", "--llama-server", "l", "--answers"]
    args = build_parser().parse_args([*given, "4,2"])
    assert (args.answers, args.rounds, args.tokens) == ((4, 2), 5, Task().tokens)
    with pytest.raises(SystemExit):
        build_parser().parse_args([*given, "4,0"])
    assert "0 is no number of 1 or more" in capsys.readouterr().err
    args.bundle = Bundle.find("tiny").folder
    with pytest.raises(InputError, match="no such file; make it with make_gguf --layers"):
        compare(args)


def test_every_token_has_a_text_of_its_own() -> None:
    texts = vocabulary(VOCABULARY)
    assert len(set(texts)) == len(texts) == VOCABULARY
    assert (texts[EOS], texts[EOS + 1], texts[EOS + BYTES]) == ("</s>", "<0x00>", "<0xFF>")

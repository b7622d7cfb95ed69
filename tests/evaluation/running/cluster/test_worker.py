"""What runs on the nodes, here without Ray: pictures read, questions answered, batches that are begun again, poison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from omnilmm_lite.cluster.finished_rows import FATAL_STARTS, FinishedRows
from omnilmm_lite.cluster.kept_batch import LOST
from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.data.pictures import FilePicture
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.prompts import DECODING
from omnilmm_lite.evaluation.running import replies as replies_module
from omnilmm_lite.evaluation.running.cluster import worker as worker_module
from omnilmm_lite.evaluation.running.cluster.task import ReadTasks
from omnilmm_lite.evaluation.running.cluster.worker import EvalWorker, Terms
from omnilmm_lite.evaluation.running.question import Question, by_picture
from omnilmm_lite.evaluation.running.session import Part, open_session
from omnilmm_lite.model_source import MachineOptions
from omnilmm_lite.pipeline.parallel import Parallel
from tests.cluster.stand_ins import Lost, stand_in_for_ray, tiny_briefing

MACHINE = MachineOptions(device="cpu", context=None, threads=1, drafts=False, cuda_graph=False)
TERMS = Terms(MACHINE, Parallel(1), DECODING)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> FinishedRows:
    stand_in_for_ray(monkeypatch)
    return FinishedRows()


@pytest.fixture(scope="module")
def questions(mini_sets: Path) -> Sequence[Question]:
    """Of easy-VQA, about three pictures."""
    session = open_session(Benchmark.EASYVQA, mini_sets / "easyvqa", Profile.VEK2402, Part())
    return [question for group in by_picture(session.questions)[:3] for question in group]


def batch(questions: Sequence[Question]) -> Any:
    """As it comes from the driver: the numbers are places in `questions`."""
    numbers = iter(range(len(questions)))
    pictures = [{str(next(numbers)): question for question in group} for group in by_picture(questions)]
    [table] = ReadTasks([pictures])(pyarrow.table({"batch": [0]}))
    return table


def worker(rows: FinishedRows) -> EvalWorker:
    return EvalWorker(tiny_briefing(rows), TERMS)


def answers(table: Any) -> list[dict[str, Any]]:
    found = table.to_pylist()
    assert [row["number"] for row in found] == [str(number) for number in range(len(found))]
    return [json.loads(row["answer"]) for row in found]


def test_a_row_a_picture_which_stands_in_it_once(questions: Sequence[Question]) -> None:
    table = batch(questions)
    pictures = [group[0].item.pictures[0].read() for group in by_picture(questions)]
    assert table["picture"].to_pylist() == pictures and len(questions) > len(pictures) == 3


def test_answers_are_those_of_a_run_without_ray(
    rows: FinishedRows, questions: Sequence[Question], whole_run: Path
) -> None:
    lines = [json.loads(line) for line in (whole_run / "easyvqa.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = [{name: line[name] for name in ("text", "finish_reason", "likeliest")} for line in lines]
    assert answers(worker(rows)(batch(questions))) == wanted[: len(questions)]


def test_what_cannot_be_read_or_asked_is_an_error_and_the_others_go_on(
    rows: FinishedRows, questions: Sequence[Question], tmp_path: Path
) -> None:
    gone = Question(Item("1", "", pictures=(FilePicture(tmp_path / "gon\udce9e.png"),)), "what?")
    (tmp_path / "no.png").write_bytes(b"no picture")
    broken = Question(Item("2", "", pictures=(FilePicture(tmp_path / "no.png"),)), "what?")
    endless = Question(questions[0].item, "why? " * 5000)
    lines = answers(worker(rows)(batch([gone, Question(Item("3", ""), "what?"), broken, endless, questions[0]])))
    wanted = ["can't be read", "the row has none", "picture: ", "context", None]
    for line, error in zip(lines, wanted, strict=True):
        assert line.keys() == ({"text", "finish_reason", "likeliest"} if error is None else {"error"})
        assert error is None or error in line["error"]


def dying(number: int, tries: list[int]) -> Any:
    """In place of `replies`: the worker ends with the question of that number; `tries`: how many came with it."""
    real = replies_module.replies

    def replies(respondent: Any, pictures: Any, *width: Any) -> Iterator[Any]:
        loaded = list(pictures)
        tries.append(sum(len(each.questions) for each in loaded))
        for asked in real(respondent, loaded, *width):
            if int(asked.question.item.index) == number:
                raise Lost
            yield asked

    return replies


def die(times: int, rows: FinishedRows, table: Any) -> None:
    for _ in range(times):
        with pytest.raises(Lost):
            worker(rows)(table)


def test_what_a_lost_worker_had_done_is_taken_from_it(
    rows: FinishedRows, questions: Sequence[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, tries, count = batch(questions), list[int](), len(questions)
    whole = answers(worker(FinishedRows())(table))
    with monkeypatch.context() as patched:
        patched.setattr(worker_module, "replies", dying(5, tries))
        die(3, rows, table)
    # the second start brings nothing, so in the third each comes alone
    assert tries == [count, count - 5, 1]
    begun = rows.begin(f"0-{count - 1}")
    assert begun.rows.keys() == set("01234") and begun.is_again
    rows.add(f"0-{count - 1}", "2", {"text": "as it was", "finish_reason": "stop", "likeliest": None})
    again = answers(worker(rows)(table))
    assert again[2]["text"] == "as it was"
    assert again[:2] + again[3:] == whole[:2] + whole[3:]


def test_a_question_that_ends_every_worker_becomes_an_error(
    rows: FinishedRows, questions: Sequence[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it alone, as its picture was asked about before."""
    table = batch(questions)
    monkeypatch.setattr(worker_module, "replies", dying(3, []))
    # the first start answers three questions, the second may have to answer the third again
    tries = 0
    while True:
        tries += 1
        try:
            lines = answers(worker(rows)(table))
            break
        except Lost:
            assert tries < FATAL_STARTS + 2
    assert [number for number, line in enumerate(lines) if line == {"error": LOST}] == [3]
    assert all("text" in line for number, line in enumerate(lines) if number != 3)


def test_a_picture_that_ends_every_worker_is_given_up_with_all_its_questions(
    rows: FinishedRows, questions: Sequence[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = len(by_picture(questions)[0])
    table = batch(questions)
    monkeypatch.setattr(worker_module, "replies", dying(0, []))
    die(FATAL_STARTS - 1, rows, table)
    lines = answers(worker(rows)(table))
    assert [line.get("error") for line in lines] == [LOST] * first + [None] * (len(questions) - first)


def test_a_node_that_differs_is_refused(rows: FinishedRows, questions: Sequence[Question]) -> None:
    """With the first batch, and before it counts as begun."""
    with pytest.raises(InputError, match=r"node here: numpy is .* there"):
        EvalWorker(tiny_briefing(rows, numpy="1.0"), TERMS)(batch(questions))
    assert rows._batches == {}

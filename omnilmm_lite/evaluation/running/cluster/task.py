"""A picture and the questions about it, on their way from the driver's disk to a worker; answers on their way back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.running.question import Question, picture_bytes

Table = Any  # a pyarrow table


@dataclass(frozen=True)
class Task:
    """`questions` by their numbers in the run, about one picture; they have nothing but what an answer needs. One of
    `picture` and `error` is None."""

    questions: Mapping[str, Question]
    picture: bytes | None
    error: str | None


class ReadTasks:
    """A table of numbers of batches -> a table of tasks, each with its picture's file. It knows nothing of Ray."""

    def __init__(self, batches: Sequence[Sequence[Mapping[str, Question]]]) -> None:
        """`batches`: of each the pictures, with the questions about them by their numbers."""
        self._batches = batches

    def __call__(self, table: Table) -> Iterator[Table]:
        for batch in table["batch"].to_pylist():
            yield task_table(map(_read, self._batches[batch]))


def task_table(tasks: Iterator[Task]) -> Table:
    import pyarrow

    rows = []
    for task in tasks:
        asked = [[number, each.prompt, each.letters] for number, each in task.questions.items()]
        # as JSON, whatever characters prompts and paths have
        rows.append({"asked": json.dumps(asked), "picture": task.picture, "error": json.dumps(task.error)})
    schema = {"asked": pyarrow.string(), "picture": pyarrow.large_binary(), "error": pyarrow.string()}
    return pyarrow.Table.from_pylist(rows, pyarrow.schema([*schema.items()]))


def tasks_of(table: Table) -> list[Task]:
    """What `task_table` made a table of."""
    rows = table.select(["asked", "picture", "error"]).to_pylist()
    return [Task(_questions(row["asked"]), row["picture"], json.loads(row["error"])) for row in rows]


def _questions(asked: str) -> dict[str, Question]:
    return {number: Question(Item(number, ""), prompt, tuple(letters)) for number, prompt, letters in json.loads(asked)}


def _read(questions: Mapping[str, Question]) -> Task:
    try:
        return Task(questions, picture_bytes(next(iter(questions.values()))), None)
    except InputError as error:
        return Task(questions, None, str(error))

"""Judges that read what rules can't: what they are asked, and which answers are put to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.evaluation.judge import mathvista, multiple_choice, objhal
from omnilmm_lite.evaluation.judge.rubric import (
    read_authors_extraction_rubric,
    read_kit_extraction_rubric,
    read_matching_rubric,
    read_objects_rubric,
)
from omnilmm_lite.evaluation.scoring import mmmu
from omnilmm_lite.evaluation.scoring.objhal import chair
from omnilmm_lite.evaluation.scoring.objhal.vocabulary import Vocabulary
from tests.evaluation.mini_sets import write_rubrics

OPTIONS = {"A": "a red one", "B": "N/A", "C": "blue"}
ITEM = Item("7", "Which {?}", answer="A", options=OPTIONS)


def test_a_choice_is_matched_with_the_options_that_the_kit_has(tmp_path: Path) -> None:
    rubric = read_matching_rubric(write_rubrics(tmp_path) / "multiple_choice.py")
    (request,) = multiple_choice.requests(Benchmark.SEEDBENCH, [Prediction(ITEM, "hm {}")], rubric)
    assert request.user == ("Match: Which {?}? Of: There are several options: \nA. a red one\nC. blue\n Said: hm {}")
    assert (request.system, request.temperature, request.max_tokens) == (None, 0.0, 1024)
    chinese = replace(ITEM, question="\u54ea")
    (request,) = multiple_choice.requests(Benchmark.SEEDBENCH, [Prediction(chinese, "hm")], rubric)
    assert request.user is not None and request.user.startswith("\u5339\u914d \u54ea ")


def test_only_unread_answers_are_put_to_a_judge() -> None:
    answers = [Prediction(replace(ITEM, index=str(n)), text) for n, text in enumerate(("A", "hm", "Z", "blue", "A C"))]
    assert [each.item.index for each in multiple_choice.unread(Benchmark.SEEDBENCH, answers)] == ["1", "4"]


def test_rotations_of_a_lost_question_are_not_asked_about() -> None:
    """Question 1 has a wrong rotation; question 2 a right one, and one that nobody can read."""
    texts = {"1": "hm", "1000001": "C", "2": "A", "1000002": "hm"}
    answers = [Prediction(replace(ITEM, index=index), text) for index, text in texts.items()]
    assert [each.item.index for each in multiple_choice.unread(Benchmark.MMBENCH, answers)] == ["1000002"]


def test_of_several_pictures_the_kits_own_sentence_is_judged(tmp_path: Path) -> None:
    rubric = read_matching_rubric(write_rubrics(tmp_path) / "multiple_choice.py")
    answer = Prediction(replace(ITEM, pictures=()), "A")
    assert multiple_choice.unread(Benchmark.MMMU, [answer]) == [answer]
    (request,) = multiple_choice.requests(Benchmark.MMMU, [answer], rubric)
    assert request.user is not None and request.user.endswith(f"Said: {mmmu.SEVERAL_PICTURES}")
    assert mmmu.judged_scores([answer], {"7": "It is C."})[0].value == 0
    assert mmmu.judged_scores([answer], {"7": "It is A."})[0].value == 100


def _number(answer: str) -> Item:
    return Item("1", "How many?", answer=answer, attributes={"question_type": "free_form", "answer_type": "integer"})


def test_mathvistas_judge_extracts(tmp_path: Path) -> None:
    """The kit asks about whatever isn't the right number, the authors about what is no number at all."""
    write_rubrics(tmp_path)
    answers = [Prediction(_number(gold), text) for gold, text in (("5", "5"), ("5", "6"), ("0", "0"), ("5", "five"))]
    assert mathvista.unread(answers, Profile.VEK2402) == answers[1:]
    assert mathvista.unread(answers, Profile.OFFICIAL) == answers[3:]
    query = (
        "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at "
        "the end.\nQuestion: How many?"
    )
    (request,) = mathvista.requests(
        answers[3:], Profile.VEK2402, read_kit_extraction_rubric(tmp_path / "mathvista_eval.py")
    )
    assert request.user == (f"Extract.\none\ntwo\nthree\nfour\nfive\n{query}\nModel respone: fiveExtracted answer:")
    assert request.max_tokens == 128
    (request,) = mathvista.requests(
        answers[3:], Profile.OFFICIAL, read_authors_extraction_rubric(tmp_path / "ext_ans.py")
    )
    assert request.user == f"Extract it.\n\n{query}\n\nfive\n\nExtracted answer: "


def test_object_halbenchs_judge_lists_objects(tmp_path: Path) -> None:
    rubric = read_objects_rubric(write_rubrics(tmp_path) / "eval_gpt_obj_halbench.py")
    answers = [Prediction(ITEM, text) for text in ("Assistant: a cat and a dog {", "only three words")]
    assert objhal.unread(answers) == answers[:1]
    (request,) = objhal.requests(answers[:1], rubric)
    assert request.messages() == [{"role": "system", "content": "Q Which {?} A a cat and a dog {"}]
    assert (request.temperature, request.max_tokens) == (0.2, 512)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('["cat", "dog"]', ["cat", "dog"]), ('Here:\n["cat"]', ["cat"]), ("[]", []), ('["cat"] I think', None),
        ("[1]", None), ("{}", None), ("", None), ("[" * 99_999, None),
    ],
)  # fmt: skip
def test_lists_of_objects(reply: str, found: list[str] | None) -> None:
    assert objhal.parse_objects(reply) == found


def test_named_objects_count_once_and_pairs_go_before_words() -> None:
    """A name's last word, unless it holds a pair: a wooden chair is a chair, a dining table one object."""
    vocabulary = Vocabulary.of([["chair"], ["dining table", "table"], ["cat"], ["toilet"]])
    names = ["Wooden chairs", "dining table", "cats", "cat", "sky", ""]
    assert [name for _, name in chair.find_named(names, vocabulary)] == ["chair", "dining table", "cat"]
    (whole, objects, *_) = chair.judged_scores([Prediction(ITEM, "x")], {"7": {"cat"}}, vocabulary, {"7": names})
    assert (whole.value, objects.count) == (0, 3)
    assert objects.value == pytest.approx(100 / 3)


@pytest.mark.parametrize("content", ["", "tmpl = 1", "def build_prompt(): tmpl = '{} {} {}'", "demo_prompt = 1", "{"])
def test_other_scripts_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(content, encoding="utf-8")
    for read in (
        read_matching_rubric,
        read_kit_extraction_rubric,
        read_authors_extraction_rubric,
        read_objects_rubric,
    ):
        with pytest.raises(InputError, match=r"; (give|download)"):
            read(tmp_path / "x.py")

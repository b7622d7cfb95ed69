"""MMHal-Bench and LLaVA-Bench against the public scripts' reading of the same replies, and by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.scoring import llavabench, mmhal
from tests.evaluation.golden import load, score_named


def _items(count: int, categories: list[str] | None = None) -> list[Item]:
    return [Item(str(n), "?", category=categories[n] if categories else None) for n in range(count)]


def test_ratings_agree_with_rlhf_v() -> None:
    golden = load("mmhal")
    assert [mmhal.parse_rating(reply) or 0 for reply in golden["replies"]] == golden["ratings"]


@pytest.mark.parametrize("run", range(3))
def test_mmhal_scores_agree_with_rlhf_v(run: int) -> None:
    golden = load("mmhal")
    replies = golden["replies"][96 * run : 96 * run + 96]
    average, hallucinated, by_type, informativeness = golden["runs"][run]  # printed with two decimals
    result = mmhal.score(_items(96), replies, "a judge")
    assert score_named(result, "mean rating") == pytest.approx(average, abs=0.0051)
    assert score_named(result, "with hallucination") == pytest.approx(100 * hallucinated, abs=0.51)
    assert score_named(result, "without hallucination") == pytest.approx(100 - 100 * hallucinated, abs=0.51)
    assert score_named(result, "informativeness") == pytest.approx(informativeness, abs=0.0051)
    assert [each.name for each in result.categories] == list(mmhal.TYPES)
    assert [each.value for each in result.categories] == pytest.approx(by_type, abs=0.0051)
    assert result.unparsed == sum(mmhal.parse_rating(reply) is None for reply in replies)


def test_a_part_of_mmhal_keeps_its_types() -> None:
    """Questions 8 and 2 of the template: attribute and comparison."""
    result = mmhal.score([_items(9)[8], _items(9)[2]], ["Rating: 6", "Rating: 1"], "a judge")
    assert [(each.name, each.value) for each in result.categories] == [("attribute", 6), ("comparison", 1)]


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("Rating: 4, somewhat", 4),
        ("Rating: 10", 1),
        ("Rating: 60", 6),
        ("Rating: 4.5", 4),
        ("Rating:4", None),
        ("Rating: **4**", None),
        ("rating: 4 ... Rating: 4", 4),
        ("rating: 4 ... Rating: 5", None),
        ("", None),
    ],
)
def test_ratings_by_hand(reply: str, rating: int | None) -> None:
    assert mmhal.parse_rating(reply) == rating


def test_llava_scores_agree_with_the_kit() -> None:
    golden = load("llavabench")
    pairs = [llavabench.parse_scores(reply) or llavabench.FAILED for reply in golden["replies"]]
    assert [[pair.reference, pair.model] for pair in pairs] == golden["scores"]
    for run, table in enumerate(golden["tables"]):
        part = slice(60 * run, 60 * run + 60)
        result = llavabench.score(_items(60, golden["categories"][part]), golden["replies"][part], "a judge")
        for name, (relative, model, reference) in table.items():
            if name == "overall":
                assert score_named(result, "relative score") == pytest.approx(relative)
                assert score_named(result, "model") == pytest.approx(model)
                assert score_named(result, "GPT-4") == pytest.approx(reference)
            else:
                assert score_named(result, name) == pytest.approx(relative)


def test_failed_replies_enter_one_of_two_figures() -> None:
    result = llavabench.score(_items(2), ["8 6\nGood.", "8, 6"], "a judge")
    assert score_named(result, "relative score") == pytest.approx(100 * (6 - 1) / (8 - 1))
    assert score_named(result, "relative score, unread replies left out") == pytest.approx(75)
    assert result.unparsed == 1


@pytest.mark.parametrize("reply", ["8\t6", "8  6", " 8 6", "8 6 ", "8", "8 6 7", "a b", "nan 8", "8 inf", ""])
def test_these_replies_are_not_read(reply: str) -> None:
    assert llavabench.parse_scores(reply) is None


@given(st.text())
def test_any_reply_is_read_or_not(reply: str) -> None:
    assert mmhal.parse_rating(reply) in {None, *range(7)}
    llavabench.parse_scores(reply)


def test_replies_of_another_number_are_refused() -> None:
    with pytest.raises(InputError, match="2 questions and 1 reply"):
        mmhal.score(_items(2), ["Rating: 3"], "a judge")
    with pytest.raises(InputError, match="2 questions and 1 reply"):
        llavabench.score(_items(2), ["8 6"], "a judge")

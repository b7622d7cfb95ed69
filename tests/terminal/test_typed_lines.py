# ruff: noqa: RUF001  # full-width punctuation is what is tested
"""What a line of the chat means: the picture, wherever its path stands, and the question; and what is no path."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnilmm_lite.terminal.paths.line import TypedLine, is_path, read_line
from omnilmm_lite.terminal.paths.readings import named_file
from tests.systems import not_on_windows

FILES = (
    "teal.png", "my teal.png", "猫.png", "it's.png", "pictures/teal.png", "a b/c d/e.JPG", "notes.txt", "plain",
    "x (1).png", "IMG 1.HEIC", "Größe.webp", "a,b.gif", "folder.png/inside",
    "teal.png copy.png",
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typed") / "here"
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture(autouse=True)
def stand_here(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))


# ---- files ----

FOUND = [
    # line, picture (HERE is the current folder), question
    ("teal.png", "teal.png", ""),
    ("teal.png ", "teal.png", ""),
    ("pictures/teal.png what is this?", "pictures/teal.png", "what is this?"),
    ("What is this? HERE/teal.png", "HERE/teal.png", "What is this?"),
    ("What is this HERE/teal.png", "HERE/teal.png", "What is this"),
    ("./teal.png and its colour?", "teal.png", "and its colour?"),
    ("~/teal.png is it red?", "HERE/teal.png", "is it red?"),
    ("'HERE/my teal.png' is there a circle?", "HERE/my teal.png", "is there a circle?"),
    ('"HERE/my teal.png" is there a circle?', "HERE/my teal.png", "is there a circle?"),
    ("“my teal.png” is there a circle?", "my teal.png", "is there a circle?"),
    ("HERE/my teal.png is there a circle?", "HERE/my teal.png", "is there a circle?"),
    ("my teal.png is there a circle?", "my teal.png", "is there a circle?"),
    ("is there a circle? my teal.png", "my teal.png", "is there a circle?"),
    ("file://HERE/my%20teal.png what is it", "HERE/my teal.png", "what is it"),
    ("what is it file://HERE/my%20teal.png", "HERE/my teal.png", "what is it"),
    ("file://HERE/%E7%8C%AB.png", "HERE/猫.png", ""),
    ("teal.png?", "teal.png", ""),
    ("teal.png, what is this", "teal.png", "what is this"),
    ("teal.png: what is this", "teal.png", "what is this"),
    ("teal.png - what is this", "teal.png", "what is this"),
    ("What is this: teal.png", "teal.png", "What is this"),
    ("What is this (teal.png)?", "teal.png", "What is this?"),
    ("[teal.png] what is this?", "teal.png", "what is this?"),
    ("@teal.png what is this?", "teal.png", "what is this?"),
    ("What is this? teal.png.", "teal.png", "What is this?"),
    ("what is in teal.png?", "teal.png", "what is in the picture?"),
    ("describe teal.png.", "teal.png", "describe the picture."),
    ("Look at teal.png and tell me its colour", "teal.png", "Look at the picture and tell me its colour"),
    ("what is teal.png's colour?", "teal.png", "what is the picture's colour?"),
    ("is there a circle in my teal.png?", "my teal.png", "is there a circle in the picture?"),
    ("it's.png what's this?", "it's.png", "what's this?"),
    ("x (1).png what is this?", "x (1).png", "what is this?"),
    ("teal.png copy.png what is this?", "teal.png copy.png", "what is this?"),
    ("a b/c d/e.JPG what is this?", "a b/c d/e.JPG", "what is this?"),
    ("a,b.gif", "a,b.gif", ""),
    ("Größe.webp wie groß?", "Größe.webp", "wie groß?"),
    ("猫.png 是什么？", "猫.png", "是什么？"),
    ("猫.png是什么？", "猫.png", "这张图片是什么？"),
    ("这是什么？HERE/teal.png", "HERE/teal.png", "这是什么？"),
    ("看看teal.png", "teal.png", "看看这张图片"),
    ("看看猫.png", "猫.png", "看看这张图片"),
    ("teal.png\nwhat is this?", "teal.png", "what is this?"),
    ("one\ntwo HERE/teal.png\nthree", "HERE/teal.png", "one\ntwo\nthree"),
    ("teal.png teal.png", "teal.png", ""),
    ("& 'HERE/my teal.png' what is this?", "HERE/my teal.png", "what is this?"),
    ("`my teal.png` what is this?", "my teal.png", "what is this?"),
    ("„my teal.png“ was ist das?", "my teal.png", "was ist das?"),
    ("was ist „my teal.png”?", "my teal.png", "was ist?"),
    ("« my teal.png », c'est quoi ?", "my teal.png", "c'est quoi ?"),
    ("»my teal.png« was ist das?", "my teal.png", "was ist das?"),
    ("「my teal.png」は何？", "my teal.png", "は何？"),
    # other kinds of files, of which opening them says what is wrong
    ("IMG 1.HEIC", "IMG 1.HEIC", ""),
    ("notes.txt", "notes.txt", ""),
    ("what is in notes.txt", "notes.txt", "what is in the picture"),
]  # fmt: skip

ESCAPED = [
    ("FILE://localhostHERE/teal.png", "HERE/teal.png", ""),
    (r"HERE/my\ teal.png is there a circle?", "HERE/my teal.png", "is there a circle?"),
    (r"my\ teal.png", "my teal.png", ""),
    (r"IMG\ 1.HEIC what is this", "IMG 1.HEIC", "what is this"),
    (r"x\ \(1\).png what is this?", "x (1).png", "what is this?"),
    (r"'it'\''s.png' what's this?", "it's.png", "what's this?"),
    (r"it\'s.png what's this?", "it's.png", "what's this?"),
]


def typed(line: str, here: Path) -> TypedLine:
    return read_line(line.replace("file://HERE", here.as_uri()).replace("HERE", here.as_posix()))


@pytest.mark.parametrize(("line", "picture", "question"), FOUND)
def test_a_file_becomes_the_picture(line: str, picture: str, question: str, here: Path) -> None:
    assert typed(line, here) == TypedLine(
        (Path(picture.replace("HERE", str(here))),), question, begins_with_picture=typed(line, here).begins_with_picture
    )


@not_on_windows
@pytest.mark.parametrize(("line", "picture", "question"), ESCAPED)
def test_a_file_whose_name_a_shell_would_escape(line: str, picture: str, question: str, here: Path) -> None:
    found = typed(line, here)
    assert (found.pictures, found.question) == ((Path(picture.replace("HERE", str(here))),), question)


FORMS: tuple[Callable[[str], str], ...] = (
    str, shlex.quote, lambda path: f'"{path}"', lambda path: Path(path).as_uri()
)  # fmt: skip


@given(
    name=st.sampled_from([name for name in FILES if name.lower().endswith((".png", ".jpg", ".heic", ".webp", ".gif"))]),
    before=st.lists(st.sampled_from(["this", "red", "blue,", "it's", "and/or", "3.5", "e.g."]), max_size=5),
    after=st.lists(st.sampled_from(["this", "red", "blue?", "it's", "and/or", "3.5", "e.g."]), max_size=5),
    form=st.sampled_from(FORMS),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_it_stands(
    name: str, before: list[str], after: list[str], form: Callable[[str], str], here: Path
) -> None:
    path = here / name
    found = read_line(" ".join([*before, form(str(path)), *after]))
    assert found.pictures == (path,)
    assert found.question == " ".join([*before, *after]).rstrip(",")
    assert found.begins_with_picture == (not before)


@not_on_windows
def test_a_name_may_end_in_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.png ", " b.png"):
        Path(name).touch()
    assert read_line("'a.png ' what is it?") == TypedLine((Path("a.png "),), "what is it?", begins_with_picture=True)
    assert read_line(r"what is it? a.png\ ") == TypedLine((Path("a.png "),), "what is it?")
    assert read_line("' b.png'").pictures == (Path(" b.png"),)
    assert read_line("'c.png ' what is it?").pictures == ("c.png ",)
    assert named_file("a.png ") == Path("a.png ") and named_file(" a.png") == Path("a.png")


# ---- paths that lead nowhere ----

MISSING = [
    # line, what is named
    ("nope.png", "nope.png"),
    ("what is nope.png?", "nope.png"),
    ("./im/cat.web", "./im/cat.web"),
    ("im/cat.web what is this?", "im/cat.web"),
    ("im/cat.jpgg", "im/cat.jpgg"),
    ("/nope.png what is this?", "/nope.png"),
    ("/no/such/thing what is this?", "/no/such/thing"),
    ("what is this? /no/such/thing.png", "/no/such/thing.png"),
    ("/no/such/my cat.png what is this?", "/no/such/my cat.png"),
    ("~/nope.png what is this?", "~/nope.png"),
    ("../nope/nope.png", "../nope/nope.png"),
    ("'my nope.png' what is this?", "my nope.png"),
    ('"HERE/my nope.png"', "HERE/my nope.png"),
    ("file:///no/such/cat.png what is this?", "file:///no/such/cat.png"),
    ("folder.png what is this?", "folder.png"),
    ("HERE what is this?", "HERE"),
    ("'HERE' what is this?", "HERE"),
    ("这是什么？/no/猫.png", "/no/猫.png"),
    (r"C:\Users\me\nope.png", r"C:\Users\me\nope.png"),
    (r"C:\Users\me\my nope.png what is this?", r"C:\Users\me\my nope.png"),
    (r'"C:\Users\me\my nope.png" what is this?', r"C:\Users\me\my nope.png"),
    ("what is this? C:/Users/me/nope.png", "C:/Users/me/nope.png"),
    (r"\\server\share\nope.png what is this?", r"\\server\share\nope.png"),
    ("//server/share/nope.png", "//server/share/nope.png"),
    ("scan.pdf what does it say?", "scan.pdf"),
    ("http://example.org/cat.png what is this?", "http://example.org/cat.png"),
    ("what is this? https://example.org/cat.jpg?size=large", "https://example.org/cat.jpg?size=large"),
    ("https://example.org/whatever", "https://example.org/whatever"),
]


@pytest.mark.parametrize(("line", "named"), MISSING)
def test_what_leads_nowhere_is_named_and_not_asked(line: str, named: str, here: Path) -> None:
    assert typed(line, here).pictures == (named.replace("HERE", here.as_posix()),)


@not_on_windows
@pytest.mark.parametrize("line", [r"IMG\ 2.HEIC", r"IMG\ 2.HEIC what is this?", r"what is IMG\ 2.HEIC"])
def test_an_escaped_name_that_leads_nowhere(line: str) -> None:
    assert read_line(line).pictures == ("IMG 2.HEIC",)


def test_a_part_of_a_name_is_not_taken_for_it() -> None:
    """There is a teal.png, and it isn't meant."""
    lines = (
        "'your teal.png' is it red?", r"your\ teal.png is it red?", "nowhere/teal.png is it red?",
        r"C:\teal.png is it red?", r"is it red? C:\teal.png", "/nowhere,teal.png is it red?", "./猫teal.png is it red?",
        "https://example.org/?u=teal.png is it red?", "(//nowhere/a:teal.png)", "`your teal.png` is it red?",
        "„your teal.png“ is it red?",
    )  # fmt: skip
    for line in lines:
        assert not any(isinstance(picture, Path) for picture in read_line(line).pictures)


def test_several_are_all_named() -> None:
    assert read_line("teal.png 'my teal.png'").pictures == (Path("teal.png"), Path("my teal.png"))
    assert read_line("compare teal.png with nope.png").pictures == (Path("teal.png"), "nope.png")
    assert read_line("/no/such.png,teal.png,nope.png?").pictures == ("/no/such.png", Path("teal.png"), "nope.png")
    assert read_line("/no/such 'and' nope.png").pictures == ("/no/such", "nope.png")
    assert read_line("teal.png\npictures/teal.png\n").pictures == (Path("teal.png"), Path("pictures/teal.png"))


# ---- questions ----

QUESTIONS = [
    "What is this?", "is it red and/or blue?", "What is 3.5/2?", "and e.g. this?", "/ what", "/5 stars?", "he/she/it",
    "is http://example.org/ safe?", "what is a .png?", "is it .jpg/.png?", "is this a PNG/JPEG?", "w/o the cat?",
    "is it v1.2.3 or node.js?", "and/or.Then what", "...what?", "wait... what?", "~5 apples?", "~ 5 cm?", "is it ~/?",
    "what does \\n mean?", "what's 'this'?", "it's the cat's 'name', isn't it?", "she said \"and/or\" twice",
    "C: what?", "ratio 1:2?", "a:b", "9/11?", "on 24/12/2026?", "km/h", "St. John/St. Jane?", "what? a. b. c.",
    "plain", "what about plain", "is <b>this</b> bold?", "x = y / z", "(and/or)", "这是猫/狗？", "3.5米/秒？", "和/或",
    "'quoted' or \"quoted\"?", "'", '"', "\\", "''", "~", ".", "..", "//", "a//b", "what is // here?", "U.S.A./U.K.?",
    "me@example.org?", "#1?", "100%/50%", "cat/猫.it's", "pictures", "is it pictures/teal?", "\u3000", "👍/👎?",
]  # fmt: skip


@pytest.mark.parametrize("line", QUESTIONS)
def test_words_stay_words(line: str) -> None:
    assert read_line(line) == TypedLine((), line.strip())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["red", "Blue", "it", "cat", "I", "3", "猫", "Größe", "e"]),
            st.sampled_from(
                [" ", ", ", ". ", "? ", "/", ".", "... ", "-", "'s ", " / ", ": ", "!", "\n", " '", '" ', "%"]
            ),
        ),
        max_size=12,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_words_are_taken_for_a_path(parts: list[tuple[str, str]]) -> None:
    line = "".join(word + end for word, end in parts)
    assert read_line(line) == TypedLine((), line.strip())


def test_long_lines_are_looked_at_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the disk are counted: a folder may be on the network."""
    looks, is_file = [], Path.is_file

    def counted(path: Path) -> bool:
        looks.append(len(str(path)))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", counted)
    for line in (
        "What is this. " * 290,
        "猫" * 4000 + ".png",
        "a.png " * 680,
        "'" * 4000,
        "(" * 4000 + "a.b",
        "x " * 9999,
    ):
        read_line(line)
        assert len(looks) < 4000
        assert sum(looks) < 10**6
        looks.clear()


def test_one_word_of_the_command_line() -> None:
    words = (
        "teal.png",
        "plain",
        "nope.png",
        "./nope",
        "/no/such",
        "What",
        "is",
        "this?",
        "and/or",
        "my teal.png",
        "a my nope.png",
    )
    assert [word for word in words if is_path(word)] == [
        "teal.png", "plain", "nope.png", "./nope", "/no/such", "my teal.png"
    ]  # fmt: skip
    assert not is_path("what is in ./teal.png?")
    assert os.path.exists("plain")  # noqa: PTH110  # and is a file all the same

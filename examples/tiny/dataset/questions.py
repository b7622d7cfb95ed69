"""Questions about a scene and their answers, in several wordings.

One rule: a question in easy-VQA's own wording (lower case, its templates) gets easy-VQA's one-word answer; every
other wording gets a sentence. Answers follow from the scene alone, so they are right by construction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from examples.tiny.dataset import kinds as vocabulary
from examples.tiny.dataset.scene import BACKGROUND_COLORS, SHAPE_COLORS, SHAPES, Scene, Thing

Pair = tuple[str, str]  # question, answer
Maker = Callable[[Scene, np.random.Generator], Pair | None]  # None where the scene leaves nothing to ask

CHAT: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Hello", "Hello!", "Hi", "Hi!", "hello", "hi", "Good morning", "Hey"),
        "Hello! Show me a picture and ask me about it.",
    ),
    (
        ("Who are you?", "What are you?", "who are you?", "What is your name?"),
        "I am tiny, a small model that shows how OmniLMM works.",
    ),
    (
        ("What can you do?", "what can you do?", "How can you help me?", "What do you know?"),
        "I can name things in simple pictures, and say their colour and place.",
    ),
    (("How are you?", "how are you?", "How are you today?"), "I am fine, thank you."),
    (("Thank you", "Thank you!", "Thanks", "Thanks!", "thanks"), "You are welcome."),
    (("Goodbye", "Goodbye!", "Bye", "bye"), "Goodbye!"),
    (
        (
            "What is this?",
            "What do you see?",
            "Describe the picture.",
            "what is this?",
            "Describe the image.",
            "What is in the picture?",
            "what color is the shape?",
            "What is interesting about this image?",
        ),
        "I see no picture. Please show me one.",
    ),
    (
        (
            "What is the capital of France?",
            "Tell me a story.",
            "What is two plus two?",
            "Write a poem.",
            "Why is the sky blue?",
            "Tell me a joke.",
            "Tell me about cats.",
            "What time is it?",
            "Can you write code?",
        ),
        "I do not know. I can only talk about simple pictures.",
    ),
)

_THIS = (
    "What is this?",
    "What is this?",
    "What is it?",
    "what is this?",
    "What is that?",
    "What object is this?",
    "What's this?",
)
_SEE = ("What do you see?", "What can you see?", "What do you see in the picture?", "what do you see?")
_IN = ("What is in the picture?", "What is in the image?", "What is shown in the picture?", "what is in the picture?")
_DESCRIBE = ("Describe the picture.", "Describe the image.", "Describe this picture.", "Describe this image.",
             "What is happening in the image?", "What is interesting about this image?", "Describe the picture",
             "describe the picture")  # fmt: skip
_COUNT = (
    "How many objects are there?",
    "How many things are there?",
    "How many objects do you see?",
    "how many objects are there?",
)
_PHRASES = {"shaded": "on a shaded background", "speckled": "on a speckled background", "photo": "in front of a photo",
            "easy": "on a light background"}  # fmt: skip


def easy_vqa_pair(scene: Scene, rng: np.random.Generator, negated: float = 0.5) -> Pair:
    """One question in easy-VQA's wording about its one shape, the types as often as there.

    `negated`: the share of yes/no questions that ask for what is not there.
    """
    thing = scene.things[0]
    assert thing.color is not None
    draw = rng.random()
    if draw < 0.13:
        wordings = ("what color is the shape?", "what is the color of the shape?",
                    f"what color is the {thing.name}?", f"what is the color of the {thing.name}?")  # fmt: skip
        return wordings[rng.integers(4)], thing.color
    if draw < 0.30:
        wordings = ("what shape is in the image?", "what shape does the image contain?", "what shape is present?",
                    f"what is the {thing.color} shape?")  # fmt: skip
        return wordings[rng.integers(4)], thing.name
    true = bool(rng.random() < 0.35)
    if rng.random() < 0.66:
        what = f"{thing.color if true else _other(thing.color, SHAPE_COLORS, rng)} shape"
    else:
        what = thing.name if true else _other(thing.name, SHAPES, rng)
    return _yes_no(what, true, rng, negated)


def _yes_no(what: str, true: bool, rng: np.random.Generator, negated: float) -> Pair:
    positive = (f"is there a {what}?", f"is there a {what} in the image?", f"does the image contain a {what}?",
                f"is a {what} present?")  # fmt: skip
    negative = (f"is there not a {what}?", f"is there not a {what} in the image?",
                f"does the image not contain a {what}?", f"is no {what} present?")  # fmt: skip
    if rng.random() < negated:
        return negative[rng.integers(4)], "no" if true else "yes"
    return positive[rng.integers(4)], "yes" if true else "no"


def pairs(scene: Scene, rng: np.random.Generator, count: int, negated: float = 0.5) -> list[Pair]:
    """`count` different kinds of questions, the name asked for most often."""
    asked: list[Pair] = []
    single = len(scene.things) == 1
    if single and scene.things[0].is_shape:
        easy = count * 4 // 5 if scene.background == "easy" else count // 2
        asked += [easy_vqa_pair(scene, rng, negated) for _ in range(easy)]
    elif single:
        asked += [_name(scene, rng) for _ in range(count // 3)]
    makers: list[Maker] = [_name, _describe, _there, _there, _count, _where]
    makers += [_color, _background] if single else [_at, _at]
    while len(asked) < count:
        made = makers[rng.integers(len(makers))](scene, rng)
        if made is not None:
            asked.append(made)
    return [asked[index] for index in rng.permutation(count)]


def asked_for_is_there(question: str, answer: str) -> bool | None:
    """For yes/no questions whether the thing is in the picture, whichever way round it was asked; None for others."""
    said = answer.lower().rstrip(".").split(",")[0]
    if said not in ("yes", "no"):
        return None
    negated = " not " in question or question.startswith("is no ")
    return (said == "yes") != negated


def chat_pair(rng: np.random.Generator) -> Pair:
    """A question without a picture."""
    wordings, answer = CHAT[rng.integers(len(CHAT))]
    return wordings[rng.integers(len(wordings))], answer


def _name(scene: Scene, rng: np.random.Generator) -> Pair:
    what = enumeration(scene.things)
    one = len(scene.things) == 1
    draw = rng.random()
    if draw < 0.5:
        return _pick(_THIS, rng), f"This is {what}." if one else f"These are {what}."
    if draw < 0.75:
        return _pick(_SEE, rng), f"I see {what}."
    return _pick(_IN, rng), f"{what[0].upper()}{what[1:]}."


def _describe(scene: Scene, rng: np.random.Generator) -> Pair:
    return _pick(_DESCRIBE, rng), f"The picture shows {enumeration(scene.things)} {_ground(scene.background)}."


def _ground(background: str) -> str:
    return _PHRASES.get(background) or f"on {vocabulary.with_article(background)} background"


def _there(scene: Scene, rng: np.random.Generator) -> Pair:
    thing = scene.things[rng.integers(len(scene.things))]
    present = {other.name for other in scene.things}
    pool = SHAPES if thing.is_shape else vocabulary.names()
    true = bool(rng.random() < 0.5) or present.issuperset(pool)
    name = thing.name if true else _other_than(present, pool, rng)
    what = vocabulary.with_article(name)
    draw = rng.random()
    if draw < 0.35 and not thing.is_shape and what.startswith("a "):
        return _yes_no(name, true, rng, negated=0.1)
    if draw < 0.55 and len(scene.things) == 1:
        truth = vocabulary.with_article(thing.name)
        return f"Is this {what}?", f"Yes, this is {truth}." if true else f"No, this is {truth}."
    wordings = (f"Is there {what}?", f"Is there {what} in the picture?", f"Do you see {what}?", f"Can you see {what}?")
    return _pick(wordings, rng), f"Yes, there is {what}." if true else f"No, there is no {name}."


def _count(scene: Scene, rng: np.random.Generator) -> Pair:
    names = {thing.name for thing in scene.things}
    total = len(scene.things)
    if len(names) == 1 and rng.random() < 0.5:
        name = names.pop()
        many = vocabulary.plural(name)
        question = _pick((f"How many {many} are there?", f"How many {many} do you see?"), rng)
        return question, f"There is one {name}." if total == 1 else f"There are {vocabulary.number(total)} {many}."
    noun = "object" if total == 1 else "objects"
    return _pick(_COUNT, rng), f"There {'is' if total == 1 else 'are'} {vocabulary.number(total)} {noun}."


def _where(scene: Scene, rng: np.random.Generator) -> Pair | None:
    thing = scene.things[rng.integers(len(scene.things))]
    if sum(other.name == thing.name for other in scene.things) > 1:
        return None
    place = where(scene, thing)
    if place is None:
        return None
    it = f"the {thing.name}"
    return _pick(
        (f"Where is {it}?", f"Where is {it} in the picture?", f"where is {it}?"), rng
    ), f"The {thing.name} is {place}."


def _at(scene: Scene, rng: np.random.Generator) -> Pair | None:
    thing = scene.things[rng.integers(len(scene.things))]
    place = where(scene, thing)
    if place is None:
        return None
    return f"What is {place}?", f"{_capital(vocabulary.with_article(thing.phrase_name))} is {place}."


def _color(scene: Scene, rng: np.random.Generator) -> Pair | None:
    thing = scene.things[0]
    if thing.color is None:
        return None
    word = _pick(("colour", "color"), rng)
    name = thing.name if rng.random() < 0.7 else ("shape" if thing.is_shape else "it")
    subject = name if name == "it" else f"the {name}"
    question = _pick((f"What {word} is {subject}?", f"What {word} does {subject} have?"), rng)
    return question, f"{_capital(subject)} is {thing.color}."


def _background(scene: Scene, rng: np.random.Generator) -> Pair | None:
    if scene.background not in BACKGROUND_COLORS:
        return None
    return f"What {_pick(('colour', 'color'), rng)} is the background?", f"The background is {scene.background}."


def where(scene: Scene, thing: Thing) -> str | None:
    """A phrase for the place; None where it lies on the border between two."""
    if scene.layout == "row":
        return "on the left" if thing.x < 0.5 else "on the right"
    if scene.layout == "column":
        return "at the top" if thing.y < 0.5 else "at the bottom"
    across, down = _third(thing.x), _third(thing.y)
    if scene.layout == "corners":
        across, down = (0 if thing.x < 0.5 else 2), (0 if thing.y < 0.5 else 2)
    if across is None or down is None:
        return None
    if across == down == 1:
        return "in the middle"
    if across == 1:
        return "at the top" if down == 0 else "at the bottom"
    side = "left" if across == 0 else "right"
    return f"on the {side}" if down == 1 else f"at the {'top' if down == 0 else 'bottom'} {side}"


def _third(at: float) -> int | None:
    for third, (low, high) in enumerate(((-1.0, 0.36), (0.40, 0.60), (0.64, 2.0))):
        if low <= at <= high:
            return third
    return None


def enumeration(things: Sequence[Thing]) -> str:
    """`a cat`, `three cats`, `a cat, a dog and a key`; in reading order."""
    counts = Counter(thing.phrase_name for thing in things)
    parts = [
        vocabulary.with_article(name) if count == 1 else f"{vocabulary.number(count)} {vocabulary.plural(name)}"
        for name, count in counts.items()
    ]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _other(truth: str | None, pool: Sequence[str] | dict[str, tuple[int, int, int]], rng: np.random.Generator) -> str:
    rest = [name for name in pool if name != truth]
    return rest[rng.integers(len(rest))]


def _other_than(present: set[str], pool: Sequence[str], rng: np.random.Generator) -> str:
    rest = [name for name in pool if name not in present]
    return rest[rng.integers(len(rest))]


def _pick(wordings: Sequence[str], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]

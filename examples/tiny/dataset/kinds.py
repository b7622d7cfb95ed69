"""The emoji that tiny knows: emojibase's labels and the names we call them by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

# label or label=name, one kind each; emojibase-data's English labels.
_LABELS = """
monkey face=monkey; gorilla; dog face=dog; wolf; fox; raccoon; cat face=cat; lion; tiger face=tiger; horse face=horse;
moose; unicorn; zebra; deer; cow face=cow; pig face=pig; ewe=sheep; goat; camel; llama; giraffe; elephant; rhinoceros;
hippopotamus=hippo; mouse face=mouse; hamster; rabbit face=rabbit; beaver; hedgehog; bat; bear; polar bear; koala;
panda; sloth; otter; skunk; kangaroo; turkey; rooster; penguin; eagle; duck; swan; owl; flamingo; peacock; parrot;
frog; crocodile; turtle; snake; T-Rex=dinosaur; spouting whale=whale; dolphin; seal; tropical fish=fish; shark;
octopus; spiral shell=shell; crab; lobster; squid; snail; butterfly; ant; honeybee=bee; lady beetle=ladybug; scorpion;
rose; sunflower; tulip; evergreen tree=tree; palm tree; cactus; four leaf clover=clover; maple leaf; mushroom;
watermelon; lemon; banana; pineapple; red apple; green apple; pear; peach; strawberry; tomato; coconut; avocado;
eggplant; potato; carrot; broccoli; onion; croissant; pretzel; waffle; hamburger; pizza; hot dog; sandwich; taco; egg;
doughnut=donut; cookie; birthday cake=cake; cupcake; lollipop; teapot; wine glass; beer mug; house; castle; tent;
ferris wheel; bus; ambulance; fire engine=fire truck; police car; taxi; tractor; bicycle; anchor; sailboat;
helicopter; rocket; hourglass done=hourglass; alarm clock=clock; crescent moon=moon; sun with face=sun; ringed
planet=planet; star; rainbow; umbrella with rain drops=umbrella; fire; snowman without snow=snowman; volcano;
jack-o-lantern=pumpkin; balloon; wrapped gift=gift; trophy; soccer ball; baseball; basketball; tennis=tennis racket;
boxing glove; game die=die; puzzle piece; teddy bear; artist palette=palette; t-shirt; dress; backpack; running
shoe=shoe; crown; top hat; lipstick; ring; gem stone=diamond; bell; microphone; radio; saxophone; trumpet; guitar;
violin; drum; mobile phone=phone; laptop; television; camera; light bulb; closed book=book; money bag; locked=lock;
key; hammer; axe; bomb; magnet; ladder; microscope; telescope; syringe; door; chair; toilet; bucket; toothbrush; fire
extinguisher; shopping cart; skull; ghost; robot; red heart=heart
"""

# Kinds whose colour everybody would name the same.
COLORS = {
    "red": "red apple, strawberry, tomato, fire truck, fire extinguisher, rose, heart, ladybug, teapot, book, axe",
    "green": "cactus, frog, crocodile, tree, clover, broccoli, green apple, pear, avocado, dinosaur, turtle, tent",
    "yellow": "banana, lemon, star, sun, moon, taxi, trophy, crown, bell",
    "blue": "whale, dolphin, dress, diamond, anchor, bucket",
    "brown": "bear, monkey, moose, beaver, otter, teddy bear, door, chair",
    "gray": "elephant, rhinoceros, koala, wolf, mouse",
    "orange": "fox, tiger, carrot, pumpkin, basketball",
    "pink": "pig, flamingo",
    "white": "sheep, swan, ghost, skull, polar bear, toilet",
    "black": "bomb, top hat, gorilla",
    "purple": "eggplant",
}

_PLURALS = {"mouse": "mice", "wolf": "wolves", "fish": "fish", "sheep": "sheep", "deer": "deer", "die": "dice",
            "moose": "moose", "maple leaf": "maple leaves", "squid": "squid"}  # fmt: skip
_NUMBERS = ("no", "one", "two", "three", "four")


@dataclass(frozen=True)
class Kind:
    """One kind of thing: its name, the picture file's code point(s), its colour where that is plain."""

    name: str
    code: str
    color: str | None

    @property
    def phrase(self) -> str:
        return with_article(self.name)


def with_article(name: str) -> str:
    """`an owl`, `a unicorn`."""
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "ew"))
    return f"{'an' if vowel or name.startswith('hour') else 'a'} {name}"


def plural(name: str) -> str:
    if name in _PLURALS:
        return _PLURALS[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def number(count: int) -> str:
    return _NUMBERS[count]


def names() -> list[str]:
    """Every kind's name, in the order of the class numbers."""
    return [entry.rsplit("=", 1)[-1] for entry in _entries()]


def _entries() -> list[str]:
    return [entry.strip() for entry in _LABELS.replace("\n", " ").split(";")]


def load_kinds(emojibase: Path) -> list[Kind]:
    """The kinds with their code points, from emojibase-data's `en/data.json` below `emojibase`."""
    data = json.loads((emojibase / "en" / "data.json").read_text(encoding="utf-8"))
    codes = {entry["label"]: entry["hexcode"].lower() for entry in data}
    color_of = {name.strip(): color for color, listed in COLORS.items() for name in listed.split(",")}
    kinds = []
    for entry in _entries():
        label, name = entry.split("=")[0], entry.rsplit("=", 1)[-1]
        kinds.append(Kind(name, codes[label], color_of.get(name)))
    return kinds

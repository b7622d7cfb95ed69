"""Makes the training pictures: easy-VQA's shapes, coloured shapes and emoji over many backgrounds.

Every picture is a function of the generator's state, so a batch is reproduced from (seed, batch number).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from examples.tiny.dataset import easy_vqa_data
from examples.tiny.dataset.kinds import Kind, load_kinds
from examples.tiny.dataset.scene import BACKGROUND_COLORS, GROUNDS, SHAPE_COLORS, SHAPES, Scene, Thing

SIDE = 112  # tiny's picture
GRID = 8  # its patches along one side
SPRITE = 144  # emoji are kept at this size
POSES = 40  # ready-made turns and sizes of each emoji: posing costs more than all the rest
IGNORE = -100
_TRAIN_PHOTOS = ("astronaut.png", "chelsea.png", "motorcycle_left.png", "ihc.png", "hubble_deep_field.jpg",
                 "grass.png", "gravel.png", "page.png", "coins.png", "camera.png")  # fmt: skip
_TEST_PHOTOS = ("coffee.png", "rocket.jpg", "brick.png")  # never seen in training
_SLOTS = {
    "row": ((0.27, 0.5), (0.73, 0.5)),
    "column": ((0.5, 0.27), (0.5, 0.73)),
    "corners": ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),
}

Pixels = NDArray[np.uint8]  # (112, 112, 3)


@dataclass(frozen=True)
class Labels:
    """What the auxiliary heads learn: class numbers, 0 = background in `patches`."""

    patches: NDArray[np.int64]  # (64,): class of each patch, IGNORE where it is hardly covered
    whole: int  # the only thing's class, IGNORE if there are several
    thirds: NDArray[np.int64]  # (9,): class of the thing whose centre lies in each ninth of the picture
    ground: int  # number in GROUNDS


@dataclass(frozen=True)
class Example:
    pixels: Pixels
    scene: Scene
    labels: Labels


def class_count(kinds: int) -> int:
    """Background, every emoji, every coloured shape."""
    return 1 + kinds + len(SHAPES) * len(SHAPE_COLORS)


class Studio:
    """Holds the sprites, silhouettes and photographs; `example` makes one picture."""

    def __init__(self, emoji: Path, emojibase: Path, *, test: bool = False) -> None:
        """`emoji` and `emojibase`: the unpacked npm packages. `test` takes the photographs that training never sees."""
        self.kinds: list[Kind] = load_kinds(emojibase)
        self._sprites = [_sprite(_emoji_file(emoji, kind.code)) for kind in self.kinds]
        rng = np.random.default_rng(2)
        self._poses = [] if test else [_poses(sprite, rng) for sprite in self._sprites]
        self.easy_pictures = {} if test else easy_vqa_data.pictures("train")
        self.silhouettes = {} if test else easy_vqa_data.silhouettes()
        self._numbers = list(self.silhouettes)
        folder = Path(skimage.__file__).parent / "data"
        self.photos = [_photo(folder / name) for name in (_TEST_PHOTOS if test else _TRAIN_PHOTOS)]

    # ---- kinds of pictures ----

    def example(self, rng: np.random.Generator, easy: float = 0.3) -> Example:
        """One picture of the training mixture, `easy` of them like easy-VQA's."""
        if rng.random() < easy:
            return self.easy_original(rng) if rng.random() < 0.32 else self.easy_moved(rng)
        draw = rng.random()
        if draw < 0.13:
            return self.shapes(rng)
        return self.emoji(rng) if draw < 0.83 else self.several(rng)

    def easy_original(self, rng: np.random.Generator) -> Example:
        """A train picture as it is."""
        number = self._numbers[rng.integers(len(self._numbers))]
        found = self.silhouettes[number]
        picture = self.easy_pictures[number].resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return self._easy(np.asarray(picture), found.alpha, found.shape, found.color, (found.left, found.top))

    def easy_moved(self, rng: np.random.Generator) -> Example:
        """A train picture's silhouette at another place, mirrored, in any colour on any pale ground."""
        found = self.silhouettes[self._numbers[rng.integers(len(self._numbers))]]
        color = list(SHAPE_COLORS)[rng.integers(8)]
        alpha = found.alpha[:, ::-1] if rng.random() < 0.5 else found.alpha
        height, width = alpha.shape
        left, top = (int(rng.integers(0, max(1, easy_vqa_data.SIDE - size + 1))) for size in (width, height))
        canvas = np.empty((easy_vqa_data.SIDE,) * 2 + (3,), np.float32)
        canvas[:] = rng.integers(229, 256, 3)
        box = canvas[top : top + height, left : left + width]
        box += alpha[..., None] * (np.asarray(SHAPE_COLORS[color], np.float32) - box)
        picture = Image.fromarray(np.round(canvas).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return self._easy(np.asarray(picture), alpha, found.shape, color, (left, top))

    def shapes(self, rng: np.random.Generator) -> Example:
        """One to four coloured shapes of other sizes on other backgrounds."""
        if rng.random() < 0.6:
            sizes, places, layout = [rng.uniform(0.2, 0.75)], [_anywhere(rng)], "one"
        else:
            layout, places = _layout(rng)
            sizes = [rng.uniform(0.22, 0.44) for _ in places]
        what = [(SHAPES[rng.integers(3)], list(SHAPE_COLORS)[rng.integers(8)]) for _ in places]
        if len(what) > 1 and rng.random() < 0.4:
            what = [what[0]] * len(what)
        ground, name = self.background(rng, avoid={color for _, color in what})
        canvas = Image.fromarray(ground)
        covers, things = [], []
        for (shape, color), size, place in zip(what, sizes, places, strict=True):
            mask = _draw_shape(shape, size, rng)
            jitter = np.clip(np.asarray(SHAPE_COLORS[color]) + rng.integers(-20, 21, 3), 0, 255)
            solid = Image.new("RGB", mask.size, tuple(int(value) for value in jitter))
            x, y, cover = _paste(canvas, solid, mask, place)
            covers.append((cover, self.shape_class(shape, color)))
            things.append(Thing(shape, color, True, x, y))
        scene = Scene(tuple(things), name, layout)
        return Example(np.asarray(canvas), scene, _labels(covers, scene))

    def emoji(self, rng: np.random.Generator, kind: int | None = None) -> Example:
        """One emoji; `kind` fixes which."""
        kind = int(rng.integers(len(self.kinds))) if kind is None else kind
        size = rng.uniform(0.42, 0.95)
        return self._emoji_scene(rng, [kind], [size], [_anywhere(rng)], "one")

    def several(self, rng: np.random.Generator) -> Example:
        """Two to four emoji, all of one kind or all different."""
        layout, places = _layout(rng)
        if rng.random() < 0.4:
            kinds = [int(rng.integers(len(self.kinds)))] * len(places)
        else:
            kinds = [int(kind) for kind in rng.choice(len(self.kinds), len(places), replace=False)]
        return self._emoji_scene(rng, kinds, [rng.uniform(0.36, 0.48) for _ in places], places, layout)

    # ---- parts ----

    def _pose(self, kind: int, size: float, rng: np.random.Generator) -> Image.Image:
        """In training a ready-made pose of about that size; in tests a new one."""
        if not self._poses:
            return _posed(self._sprites[kind], size, rng)
        ready = self._poses[kind]
        start = int(_size_rank(size) * POSES)
        return ready[min(max(start + int(rng.integers(-3, 4)), 0), POSES - 1)]

    def shape_class(self, shape: str, color: str) -> int:
        return 1 + len(self.kinds) + SHAPES.index(shape) * len(SHAPE_COLORS) + list(SHAPE_COLORS).index(color)

    def _easy(self, pixels: Pixels, alpha: NDArray[np.float32], shape: str, color: str, at: tuple[int, int]) -> Example:
        side = easy_vqa_data.SIDE
        cover = np.zeros((side, side), np.float32)
        (left, top), (height, width) = at, alpha.shape
        cover[top : top + height, left : left + width] = alpha
        thing = Thing(shape, color, True, (left + width / 2) / side, (top + height / 2) / side)
        scene = Scene((thing,), "easy")
        labels = _labels([(_patches(cover), self.shape_class(shape, color))], scene)
        return Example(pixels, scene, labels)

    def _emoji_scene(
        self,
        rng: np.random.Generator,
        kinds: list[int],
        sizes: list[float],
        places: list[tuple[float, float]],
        layout: str,
    ) -> Example:
        ground, name = self.background(rng)
        canvas = Image.fromarray(ground)
        covers, things = [], []
        for kind, size, place in zip(kinds, sizes, places, strict=True):
            sprite = self._pose(kind, size, rng)
            x, y, cover = _paste(canvas, sprite.convert("RGB"), sprite.getchannel("A"), place)
            covers.append((cover, 1 + kind))
            things.append(Thing(self.kinds[kind].name, self.kinds[kind].color, False, x, y))
        pixels = np.asarray(canvas)
        if rng.random() < 0.3:  # another exposure
            pixels = np.clip(pixels * rng.uniform(0.85, 1.12) + rng.uniform(-10, 10), 0, 255).astype(np.uint8)
        scene = Scene(tuple(things), name, layout)
        return Example(pixels, scene, _labels(covers, scene))

    def background(self, rng: np.random.Generator, avoid: set[str] | None = None) -> tuple[Pixels, str]:
        """A background and what to call it; plain ones keep away from the colours in `avoid`."""
        draw = rng.random()
        if avoid and draw >= 0.45:
            draw = rng.random() * 0.75  # coloured shapes drown in photographs
        if draw < 0.45:
            names = [name for name in BACKGROUND_COLORS if not avoid or not _clash(name, avoid)]
            name = names[rng.integers(len(names))]
            color = np.asarray(BACKGROUND_COLORS[name]) + rng.integers(-14, 15, 3)
            return np.broadcast_to(np.clip(color, 0, 255).astype(np.uint8), (SIDE, SIDE, 3)).copy(), name
        first, second = (rng.integers(190, 256, 3) if avoid else rng.integers(0, 256, 3) for _ in range(2))
        if draw < 0.62:
            angle = rng.uniform(0, 2 * np.pi)
            rows, columns = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) - 0.5
            along = (np.cos(angle) * columns + np.sin(angle) * rows)[..., None] * 0.7 + 0.5
            return np.clip(first + along * (second - first), 0, 255).astype(np.uint8), "shaded"
        if draw < 0.75:
            grain = int(rng.choice([14, 28, 56, 112]))
            noise = rng.normal(0, rng.uniform(8, 40), (grain, grain, 3)) + first
            picture = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
            return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), "speckled"
        photo = self.photos[rng.integers(len(self.photos))]
        size = int(rng.integers(SIDE, min(photo.shape[:2]) + 1))
        top, left = (int(rng.integers(0, length - size + 1)) for length in photo.shape[:2])
        crop = Image.fromarray(photo[top : top + size, left : left + size])
        return np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), "photo"


# Shape colours that are hard to see on a background.
_NEAR = {
    "black": {"black"},
    "gray": {"gray", "teal", "brown"},
    "red": {"red", "brown"},
    "green": {"green", "teal"},
    "blue": {"blue", "teal"},
    "yellow": {"yellow"},
    "purple": {"brown", "blue"},
    "orange": {"brown", "red"},
}


def _clash(background: str, colors: set[str]) -> bool:
    return bool(_NEAR.get(background, set()) & colors)


def _emoji_file(folder: Path, code: str) -> Path:
    for name in (code, f"{code}-fe0f", code.replace("-fe0f", "")):
        path = folder / "assets" / f"{name}.webp"
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder / 'assets'}: no picture for {code}")


def _sprite(path: Path) -> Image.Image:
    """Cut to what is visible, its longer side SPRITE pixels."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture = picture.crop(picture.getchannel("A").getbbox())
    scale = SPRITE / max(picture.size)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))


def _photo(path: Path) -> Pixels:
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((360, 360))
    scale = max(1.0, 200 / min(picture.size))
    return np.asarray(picture.resize((round(picture.width * scale), round(picture.height * scale))))


_SIZES = (0.36, 0.96)  # of an emoji's longer side, in picture sides


def _size_rank(size: float) -> float:
    """0..1 within the sizes that are used."""
    return (size - _SIZES[0]) / (_SIZES[1] - _SIZES[0])


def _poses(sprite: Image.Image, rng: np.random.Generator) -> list[Image.Image]:
    """POSES of them, from small to large."""
    spread = (np.arange(POSES) + rng.random(POSES)) / POSES
    return [_posed(sprite, _SIZES[0] + float(rank) * (_SIZES[1] - _SIZES[0]), rng) for rank in spread]


def _posed(sprite: Image.Image, size: float, rng: np.random.Generator) -> Image.Image:
    """Mirrored, turned a little and scaled to `size` of the picture's side."""
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.6:
        sprite = sprite.rotate(rng.uniform(-18, 18), Image.Resampling.BILINEAR, expand=True)
    scale = size * SIDE / max(sprite.size)
    stretch = rng.uniform(0.92, 1.0)
    return sprite.resize((max(4, round(sprite.width * scale * stretch)), max(4, round(sprite.height * scale))))


def _draw_shape(shape: str, size: float, rng: np.random.Generator) -> Image.Image:
    """A shape's coverage, antialiased."""
    width = height = size * SIDE
    if shape == "rectangle":
        if rng.random() < 0.5:
            height *= rng.uniform(0.5, 1)
        else:
            width *= rng.uniform(0.5, 1)
    elif shape == "triangle":
        height *= rng.uniform(0.8, 1)
    w, h = max(5, round(width)), max(5, round(height))
    mask = Image.new("L", (w * 3, h * 3))
    pen = ImageDraw.Draw(mask)
    if shape == "circle":
        pen.ellipse((0, 0, w * 3 - 1, h * 3 - 1), fill=255)
    elif shape == "rectangle":
        pen.rectangle((0, 0, w * 3, h * 3), fill=255)
    else:
        pen.polygon(((0, h * 3), (w * 3, h * 3), (w * 1.5, 0)), fill=255)
    return mask.resize((w, h), Image.Resampling.BOX)


def _anywhere(rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(0.0, 1.0), rng.uniform(0.0, 1.0)


def _layout(rng: np.random.Generator) -> tuple[str, list[tuple[float, float]]]:
    """A layout's name and the centres of its two to four things."""
    name = ("row", "column", "corners")[rng.integers(3)]
    slots = list(_SLOTS[name])
    if name == "corners":
        keep = sorted(rng.choice(4, int(rng.integers(3, 5)), replace=False))
        slots = [slots[index] for index in keep]
    return name, [(x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03)) for x, y in slots]


def _paste(
    canvas: Image.Image, thing: Image.Image, mask: Image.Image, place: tuple[float, float]
) -> tuple[float, float, NDArray[np.float32]]:
    """Pastes inside the picture, as near to `place` as it fits; returns the centre and the patches' coverage (64,)."""
    spots = []
    for size, at in zip(thing.size, place, strict=True):
        spots.append(min(max(round(at * SIDE - size / 2), 0), max(SIDE - size, 0)))
    canvas.paste(thing, (spots[0], spots[1]), mask)
    cover = Image.new("L", (SIDE, SIDE))
    cover.paste(mask, (spots[0], spots[1]))
    x, y = ((spot + size / 2) / SIDE for spot, size in zip(spots, thing.size, strict=True))
    return x, y, _patches(np.asarray(cover, np.float32) / np.float32(255))


def _patches(cover: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean coverage of each patch: (side, side) -> (64,)."""
    block = cover.shape[0] // GRID
    means: NDArray[np.float32] = cover.reshape(GRID, block, GRID, block).mean((1, 3)).reshape(-1)
    return means


def _labels(covers: list[tuple[NDArray[np.float32], int]], scene: Scene) -> Labels:
    patches = np.zeros(GRID * GRID, np.int64)
    best = np.zeros(GRID * GRID, np.float32)
    for cover, number in covers:
        solid = min(0.3, float(cover.max()))  # a small thing's fullest patch always counts
        patches[(cover > 0.02) & (cover < solid) & (best < 0.02)] = IGNORE
        patches[cover >= solid] = number
        best = np.maximum(best, cover)
    thirds = np.zeros(9, np.int64)
    for (_, number), thing in zip(covers, scene.things, strict=True):
        thirds[3 * min(int(3 * thing.y), 2) + min(int(3 * thing.x), 2)] = number
    return Labels(patches, covers[0][1] if len(covers) == 1 else IGNORE, thirds, GROUNDS.index(scene.background))

"""What a made picture shows: the ground truth that questions are answered from."""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = ("circle", "rectangle", "triangle")
# easy-VQA's eight colours, as it draws them.
SHAPE_COLORS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "teal": (0, 128, 128),
    "brown": (165, 42, 42),
}
BACKGROUND_COLORS: dict[str, tuple[int, int, int]] = {
    "white": (248, 248, 248),
    "black": (16, 16, 16),
    "gray": (140, 140, 140),
    "red": (210, 40, 40),
    "green": (50, 170, 70),
    "blue": (50, 90, 215),
    "yellow": (245, 220, 70),
    "purple": (130, 60, 170),
    "orange": (245, 150, 40),
    "pink": (250, 170, 200),
}


# Every background there is; the last four are no plain colour.
GROUNDS = (*BACKGROUND_COLORS, "shaded", "speckled", "photo", "easy")


@dataclass(frozen=True)
class Thing:
    """One thing in the picture. `x` and `y` are its centre, in 0..1 from the top left corner."""

    name: str  # "cat", or "circle"
    color: str | None
    is_shape: bool
    x: float
    y: float

    @property
    def phrase_name(self) -> str:
        """What it is called on its own: "red circle" for a shape, the plain name else."""
        return f"{self.color} {self.name}" if self.is_shape else self.name


@dataclass(frozen=True)
class Scene:
    """`background`: "easy" (easy-VQA's pale plain ground), "shaded", "speckled", "photo" or a colour's name."""

    things: tuple[Thing, ...]
    background: str
    layout: str = "one"  # or "row", "column", "corners": where several things stand

"""How pictures are read, as the commands that look at them ask for it."""

from __future__ import annotations

import argparse

PROFILE_HELP = "take a picture's numbers as they are, as the reference does, instead of turning them into sRGB"


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """The argument `ignore_colour_profile`, for `DecodingProcess`."""
    parser.add_argument("--ignore-colour-profile", action="store_true", help=PROFILE_HELP)

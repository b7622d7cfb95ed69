"""What comes with the package: the built-in model, pictures to calibrate with, graphs to prove operators with."""

from pathlib import Path

BUILTIN = Path(__file__).parent
BUILTIN_NAME = "tiny"  # of the model, and of its folder

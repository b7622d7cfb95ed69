"""What comes with the package: the built-in model, pictures to calibrate and measure with, graphs to prove operators."""

from pathlib import Path

BUILTIN = Path(__file__).parent

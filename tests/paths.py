"""Where the tests find what isn't theirs."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent

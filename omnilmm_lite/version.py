"""This package's version, which pyproject.toml has as well: a test holds them together."""

__version__ = "0.2.0"

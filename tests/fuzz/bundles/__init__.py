"""Parsers of what a bundle holds."""

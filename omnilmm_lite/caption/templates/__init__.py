"""Texts with names in braces, which each picture fills in its own way."""

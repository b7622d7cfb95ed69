"""Captions over many machines."""

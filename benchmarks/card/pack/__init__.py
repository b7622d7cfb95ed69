"""Brings all that the check needs to a machine that has a card and no network."""

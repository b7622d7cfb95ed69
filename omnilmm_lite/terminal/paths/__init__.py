"""Paths as people give them: what a text may mean as one, and where one stands in a line."""

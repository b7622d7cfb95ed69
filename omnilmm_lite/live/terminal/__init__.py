"""The session on a terminal, or by pipes."""

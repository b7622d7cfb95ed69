"""Real files made wrong."""

"""Scorers: pure functions from answers to frozen results, one file a benchmark."""

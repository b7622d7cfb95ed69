"""Conversations in files: saved, kept, exported."""

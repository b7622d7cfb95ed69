"""Ollama's API, for programs that speak no other. Source: its documentation, docs/api.md."""

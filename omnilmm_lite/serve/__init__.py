"""An OpenAI-compatible server for one model, and its page."""

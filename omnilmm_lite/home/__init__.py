"""The user's own place: models by name, the default one, and settings."""

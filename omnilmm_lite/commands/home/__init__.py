"""What a user keeps: models by name, and settings."""

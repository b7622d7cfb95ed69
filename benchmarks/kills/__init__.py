"""What is left of commands that are killed at random moments, run twice at once, or find the disk full."""

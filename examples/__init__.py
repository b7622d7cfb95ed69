"""Examples that are more than one file."""

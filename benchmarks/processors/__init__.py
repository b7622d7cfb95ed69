"""What operators compute on processors that aren't here: docs/processors.md."""

"""Parsers of what a checkpoint, a GPTQ folder or a work folder holds."""

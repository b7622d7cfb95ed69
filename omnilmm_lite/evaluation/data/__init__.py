"""Readers: one file a layout in which a benchmark is published. Pictures are read only when they are wanted."""

"""Columns that may share a grid, as the command line offers them. Nothing heavy is imported: `--help` reads it."""

GROUP_SIZES = (16, 32, 64, 128, 256)

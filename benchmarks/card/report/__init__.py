"""What is made of the results: goals, tables, a section for docs/gpu.md."""

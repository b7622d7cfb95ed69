"""Running the benchmarks, with the built-in model on small data files."""

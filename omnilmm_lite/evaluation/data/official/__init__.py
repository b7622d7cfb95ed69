"""The layouts in which the benchmarks' own authors publish them, one file each."""

"""`make bench-real`: the measured part of docs/performance.md, from nothing."""

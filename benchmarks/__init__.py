"""Scripts behind the numbers in README.md and docs/."""

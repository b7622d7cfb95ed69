"""Whether a bundle's files still are what was converted."""

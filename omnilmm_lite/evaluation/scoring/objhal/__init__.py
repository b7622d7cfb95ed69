"""Object HalBench offline: which COCO objects an answer names, and which of them aren't in the picture."""

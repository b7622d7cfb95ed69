"""From a model and a benchmark's questions to answers on the disk, and from those to results."""

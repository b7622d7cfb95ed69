"""From a model's name to an answer: what suits the machine, the download, the conversion, the default."""

"""Evidence about the quantizer, on models that nobody here made."""

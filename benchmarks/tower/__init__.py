"""What quantization does to a vision tower."""

"""Answers by torch and bitsandbytes, from a checkpoint as it was downloaded. Nothing else here may import this."""

"""Describing a folder of pictures, one line of JSON a picture."""

"""Descriptions and keywords in a picture's XMP, in a file beside it or in the picture's own."""

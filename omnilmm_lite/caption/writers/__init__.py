"""Where captions go besides the file of JSON lines."""

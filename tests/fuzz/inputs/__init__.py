"""Parsers of what people, clients and earlier runs give."""

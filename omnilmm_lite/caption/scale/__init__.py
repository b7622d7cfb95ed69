"""Captions of more pictures than one machine should do: a class that other frameworks map, shards, a Ray cluster."""

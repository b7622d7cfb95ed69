"""Recognisers of speech, each by a package of its own that is imported when it is asked for."""

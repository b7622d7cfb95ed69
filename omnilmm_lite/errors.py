"""The errors a caller can meet, split by whose move it is."""


class OmniLMMError(Exception):
    """Base of everything this project raises on purpose; its text is one clear line. Exit code 1."""


class InputError(OmniLMMError):
    """The caller's input can't be used: it says what, where, what was found and what to do. Exit code 2."""


class ContextFullError(InputError):
    """The prompt and the answer asked for don't fit the decoder's context."""

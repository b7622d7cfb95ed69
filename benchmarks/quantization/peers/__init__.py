"""The same model by other quantizers, each a script for an environment of its own, and what runs them."""

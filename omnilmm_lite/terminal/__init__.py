"""The chat of `omnilmm-lite run`: what is typed, what it does, what is shown."""

"""Settings that every test file shares."""

from hypothesis import settings

settings.register_profile("omnilmm", deadline=None)  # the machine may be busy: no example fails for being slow
settings.load_profile("omnilmm")

"""Settings of every test."""

from hypothesis import settings

# How long an example takes says something about the machine, not about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

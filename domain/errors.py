"""The base of every error that the core raises."""


class DomainError(ValueError):
    """A rule of the core was broken; the message says which one and how to mend it."""

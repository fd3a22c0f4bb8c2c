"""Lets go of what a failed request has held."""


def forget_traceback(error: BaseException) -> None:
    """Have an error that is dealt with, and those that led to it, tell no more where they came from.

    aiohttp keeps errors in variables and in streams that their tracebacks lead to, and the frames on the way hold the
    request with its body. Only the garbage collector finds such circles, and it counts objects, not bytes: a runner held on
    to the bodies of some two hundred requests to a host that was away.
    """
    cause: BaseException | None = error
    while cause is not None and cause.__traceback__ is not None:  # they may lead to each other
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
